internal import ArgumentParser
internal import Logging
internal import RoomServer

/// The admin API and the webhooks of a room server.
struct AdminOptions: ParsableArguments {
    @Option(help: "The address of the admin API's port. Default: 127.0.0.1.") var adminHost: String?
    @Option(help: "The port of the admin API; 0: any free port. Default: none.") var adminPort: Int?

    @Option(help: "The path of a Unix socket for the admin API, which only its owner can open; it needs no token.")
    var adminSocket: String?

    @Option(help: "A file with the token of the admin API's port, made if there is none. Required with --admin-port.")
    var adminTokenFile: String?

    @Option(help: "A URL that gets the events of rooms and participants. Repeatable.") var webhookUrl: [String] = []

    @Option(help: "A file with the secrets that sign webhooks, whsec_… or text, one a line. Needed by --webhook-url.")
    var webhookSecretFile: String?

    @Option(help: "The trusted authorities of https webhooks, PEM. Default: the system's.")
    var webhookAuthorities: String?

    /// Applies the flags, or else the environment and the file.
    func apply(to configuration: inout RoomServerConfiguration, _ settings: Settings, _ logger: Logger) throws {
        let port = try settings.integer("adminPort", 0...65_535, flag: "--admin-port", adminPort)
        let socket = try adminSocket ?? settings.string("adminSocket")
        if port != nil || socket != nil {
            var admin = RoomServerConfiguration.Admin()
            admin.host = try adminHost ?? settings.string("adminHost") ?? "127.0.0.1"
            admin.port = port
            admin.socketPath = socket
            let file = try adminTokenFile ?? settings.string("adminTokenFile")
            if port != nil {
                guard let file else {
                    throw CommandError(
                        .usage,
                        "--admin-port needs --admin-token-file: a file, which is made when it does not exist; "
                            + "--admin-socket needs none")
                }
                admin.token = try SecretFile.token(file, logger)
            }
            configuration.admin = admin
        }
        configuration.webhooks.urls = try webhookUrl + settings.strings("webhookUrls")
        if let path = try webhookSecretFile ?? settings.string("webhookSecretFile") {
            configuration.webhooks.secrets = try WebhookSecret.all(path, logger)
        } else if !configuration.webhooks.urls.isEmpty {
            throw CommandError(
                .usage, "--webhook-url needs --webhook-secret-file: a file with the secret that signs events")
        }
        configuration.webhooks.authoritiesFile = try webhookAuthorities ?? settings.string("webhookAuthorities")
    }
}
