internal import Foundation
internal import TransportPluginAPI

/// Settings from the environment: `iceServers` is `ROOM_ICE_SERVERS`.
///
/// Orchestrators set variables with this prefix as well: for a service named `room`, Kubernetes sets
/// `ROOM_PORT=tcp://10.43.0.5:8080`, `ROOM_SERVICE_HOST` and others, and container links set `ROOM_NAME=/app/room`.
/// Those are ignored.
enum Environment {
    private static let variables = ProcessInfo.processInfo.environment
    private static let hasWarned = Locked(false)

    /// Returns a value without the line feed at the end, which values from files and secrets often have. An empty value
    /// counts as absent.
    static func value(of key: String) -> String? { value(of: key, in: variables) }

    static func value(of key: String, in variables: [String: String]) -> String? {
        guard let text = text(variable(key), variables), !isFromOrchestrator(key, text, variables) else { return nil }
        return text
    }

    private static func text(_ name: String, _ variables: [String: String]) -> String? {
        guard let text = variables[name]?.trimmingCharacters(in: .whitespacesAndNewlines), !text.isEmpty else {
            return nil
        }
        return text
    }

    static func list(_ value: String) -> [String] {
        value.split(separator: ",").map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }.filter { !$0.isEmpty }
    }

    static func variable(_ key: String) -> String {
        var name = "ROOM_"
        for character in key {
            if character.isUppercase { name += "_" }
            name += character.uppercased()
        }
        return name
    }

    /// Whether the value comes from an orchestrator: a port that is a URL, or the name that accompanies one.
    private static func isFromOrchestrator(_ key: String, _ text: String, _ variables: [String: String]) -> Bool {
        switch key {
        case "port", "adminPort": text.contains("://")
        case "name": text.hasPrefix("/") && text.hasSuffix("/room") && variables["ROOM_PORT"]?.contains("://") == true
        default: false
        }
    }

    /// Prints ignored variables, and names that are most likely misspelt, once to standard error.
    static func warnOnce() {
        let isFirst = hasWarned.withLock { hasWarned in
            defer { hasWarned = true }
            return !hasWarned
        }
        guard isFirst else { return }
        for warning in warnings(variables) { Output.printError("room: warning: \(warning)") }
    }

    static func warnings(_ variables: [String: String]) -> [String] {
        var warnings: [String] = []
        for (key, flag) in [("port", "port"), ("adminPort", "admin-port"), ("name", "name")] {
            let name = variable(key)
            if let text = text(name, variables), isFromOrchestrator(key, text, variables) {
                warnings.append(
                    "\(name)=\(text) is set by Kubernetes and container links for a service named room: it is "
                        + "ignored. Use the flag --\(flag), or turn such variables off (enableServiceLinks: false)")
            }
        }
        let known = Set(Settings.keys.map(variable))
        for name in variables.keys.sorted() where name.hasPrefix("ROOM_") && !known.contains(name) {
            // Other programs may have variables with this prefix, so only near misses of sufficiently long names count.
            guard name.utf8.count >= 12, name.utf8.count <= 40,
                let nearest = known.sorted().min(by: {
                    Settings.distance($0, name) < Settings.distance($1, name)
                }), Settings.distance(nearest, name) <= 2
            else { continue }
            warnings.append("there is no setting \(name); did you mean \(nearest)?")
        }
        return warnings
    }
}
