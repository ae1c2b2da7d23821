internal import Foundation
internal import Glibc

/// The folder for data that this command keeps between runs.
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

    private static func home(_ environment: [String: String]) -> String? {
        if let home = environment["HOME"], !home.isEmpty { return home.hasPrefix("/") ? home : nil }
        guard let entry = getpwuid(geteuid()), let directory = entry.pointee.pw_dir else { return nil }
        return String(cString: directory)
    }

    /// Creates the folder and missing ones above it, for their owner only.
    static func make(_ path: String) throws(CommandError) {
        var made = ""
        for component in path.split(separator: "/") {
            made += "/" + component
            guard mkdir(made, 0o700) != 0 else { continue }
            let error = errno
            // Read-only file systems and folders of others are fine as long as the required files exist.
            var isDirectory: ObjCBool = false
            if FileManager.default.fileExists(atPath: made, isDirectory: &isDirectory), isDirectory.boolValue {
                continue
            }
            throw CommandError(.usage, "cannot make the folder \(made): \(String(cString: strerror(error)))")
        }
    }
}
