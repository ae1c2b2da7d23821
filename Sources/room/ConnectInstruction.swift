internal import Foundation
internal import RoomConnection
internal import RoomProtocol
internal import TransportPluginAPI

/// One command on standard input of `room connect --json`.
enum ConnectInstruction {
    struct Malformed: Error {
        var message: String
        init(_ message: String) { self.message = message }
    }

    case send(Payload, isText: Bool, to: ParticipantID?, RoomChannel)
    case leave
    case reconnect
    case restart(ParticipantID?)
    case statistics
    case cutPath
    case restorePath

    /// Parses a line. Throws a sentence with the reason. An unknown field is an error: a mistyped `to` would send to
    /// everybody.
    init(_ line: [UInt8], allowsFaults: Bool) throws(Malformed) {
        guard let object = try? JSONSerialization.jsonObject(with: Data(line)) as? [String: Any],
            let verb = object["do"] as? String
        else { throw Malformed("not a command: write one JSON object with \"do\" per line") }
        func check(_ known: String...) throws(Malformed) {
            guard let other = object.keys.sorted().first(where: { $0 != "do" && !known.contains($0) }) else { return }
            let list = known.isEmpty ? "it has none" : "it has \(known.joined(separator: ", "))"
            throw Malformed("'\(verb)' has no field '\(other.prefix(32))': \(list)")
        }
        func text(_ name: String) throws(Malformed) -> String? {
            guard let value = object[name], !(value is NSNull) else { return nil }
            guard let text = value as? String else { throw Malformed("\"\(name)\" must be text") }
            return text
        }
        switch verb {
        case "send":
            try check("text", "data", "to", "channel")
            guard let channel = RoomChannel(rawValue: try text("channel") ?? "reliable") else {
                throw Malformed("\"channel\" is reliable, unordered or lossy")
            }
            let to = try text("to").map { ParticipantID($0) }
            switch (try text("text"), try text("data")) {
            case (let text?, nil): self = .send(Payload(text), isText: true, to: to, channel)
            case (nil, let base64?):
                guard let data = Data(base64Encoded: base64) else { throw Malformed("\"data\" is not base64") }
                self = .send(Payload(data), isText: false, to: to, channel)
            case (nil, nil), (_?, _?): throw Malformed("send takes either \"text\" or \"data\" (base64)")
            }
        case "leave":
            try check()
            self = .leave
        case "reconnect":
            try check()
            self = .reconnect
        case "restart":
            try check("peer")
            self = .restart(try text("peer").map { ParticipantID($0) })
        case "stats":
            try check()
            self = .statistics
        case "fault" where allowsFaults:
            try check("path")
            self = try text("path") == "cut" ? .cutPath : .restorePath
        default:
            throw Malformed("there is no command '\(verb.prefix(32))': send, leave, reconnect, restart, stats")
        }
    }
}
