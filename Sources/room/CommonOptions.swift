internal import ArgumentParser
internal import Logging

/// The options that all subcommands have.
struct CommonOptions: ParsableArguments {
    @Option(name: .customLong("config"), help: "A YAML or JSON file; environment (ROOM_…) and flags override it.")
    var configFile: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical; to standard error.") var logLevel: String?

    /// The configuration file and the environment.
    func settings() throws -> Settings { try Settings(path: configFile) }

    /// Returns the logger of the level that the flag, the environment or the file names.
    ///
    /// - Parameter standard: The level otherwise. Nil: nothing is logged.
    func logger(_ settings: Settings, otherwise standard: String? = nil) throws -> Logger {
        try LogLevels.logger(logLevel ?? settings.string("logLevel") ?? standard)
    }
}
