internal import Glibc
package import Logging

/// The folder in which a server keeps what it needs after a restart.
enum StateDirectory {
    /// Returns the folder that systemd sets for a unit with `StateDirectory=` (the first of several), else XDG's folder
    /// for state, else the one under the home directory; nil when there is none. Relative paths are ignored, as the XDG
    /// Base Directory Specification requires.
    static func path(_ environment: [String: String]) -> String? {
        func absolute(_ path: some StringProtocol) -> String? { path.hasPrefix("/") ? String(path) : nil }
        if let first = environment["STATE_DIRECTORY"]?.split(separator: ":").first, let path = absolute(first) {
            return path
        }
        if let base = environment["XDG_STATE_HOME"].flatMap(absolute) { return base + "/room" }
        return home(environment).map { $0 + "/.local/state/room" }
    }

    /// Returns the folder, and makes it if it is missing.
    static func existing(_ environment: [String: String]) throws(RoomServerError) -> String {
        guard let directory = path(environment) else {
            throw RoomServerError(
                message: "there is no home directory, and neither STATE_DIRECTORY nor XDG_STATE_HOME names a folder")
        }
        try make(directory)
        return directory
    }

    private static func home(_ environment: [String: String]) -> String? {
        if let home = environment["HOME"], !home.isEmpty { return home.hasPrefix("/") ? home : nil }
        guard let entry = getpwuid(geteuid()), let directory = entry.pointee.pw_dir else { return nil }
        return String(cString: directory)
    }

    /// Makes the folder and those above it if they are missing, for their owner only.
    static func make(_ path: String) throws(RoomServerError) {
        var made = ""
        for component in path.split(separator: "/") {
            made += "/" + component
            guard mkdir(made, 0o700) != 0 else { continue }
            let error = errno
            // Read-only file systems and folders of others are fine if the folder exists.
            var status = stat()
            if stat(made, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { continue }
            throw RoomServerError(message: "cannot make the folder \(made): \(String(cString: strerror(error)))")
        }
    }
}

extension RoomServerConfiguration.SessionKey {
    /// Returns the key file in the state directory of this environment. Makes a key if there is none. Throws if it
    /// cannot be kept. Blocks for as long as the file system does.
    package static func persistent(
        in environment: [String: String], _ logger: Logger
    ) throws(RoomServerError) -> RoomServerConfiguration.SessionKey {
        let key = Self.file(try StateDirectory.existing(environment) + "/session.key")
        _ = try key.load(logger)
        return key
    }
}

extension RoomServerConfiguration {
    /// Returns the file of departures in the state directory of this environment. Throws if there is no such directory.
    /// Blocks for as long as the file system does.
    package static func departuresFile(in environment: [String: String]) throws(RoomServerError) -> String {
        try StateDirectory.existing(environment) + "/session.key.departures"
    }
}
