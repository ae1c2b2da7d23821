internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import Logging
internal import RoomServer
internal import TransportPluginAPI

struct AdminCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin",
        abstract: "Look at a running server's rooms and participants; kick, close, drain.",
        discussion: """
            The server is the one of --admin or ROOM_ADMIN, otherwise the one that the configuration file describes \
            (adminSocket, or adminHost and adminPort). Over a Unix socket no token is needed. Exits with 3 when the \
            server refuses, and with 4 when it cannot be reached.
            """,
        subcommands: [
            AdminRoomsCommand.self, AdminRoomCommand.self, AdminKickCommand.self, AdminCloseCommand.self,
            AdminDrainCommand.self, AdminInfoCommand.self, AdminEventsCommand.self,
        ])
}

/// The server and the form of the output, for all commands of `room admin`.
struct AdminTarget: ParsableArguments {
    @OptionGroup var common: CommonOptions

    @Option(help: "The admin API: http://127.0.0.1:9090, https://…, unix:/path or /path.") var admin: String?
    @Option(help: "A file with the admin token. Otherwise ROOM_ADMIN_TOKEN.") var adminTokenFile: String?
    @Option(help: "The trusted authorities of https, PEM. Default: the system's.") var authorities: String?
    @Flag(help: "One JSON object a line.") var json = false

    func client() throws -> AdminClient {
        let settings = try common.settings()
        let logger = try common.logger(settings, otherwise: "warning")
        guard let text = try admin ?? settings.string("admin") ?? configured(settings) else {
            throw CommandError(
                .usage,
                "which server? Name its admin API: --admin http://127.0.0.1:9090 or --admin unix:/path, as room serve "
                    + "has it by --admin-port or --admin-socket")
        }
        do throws(RoomServerError) {
            let address = try AdminClient.Address(text)
            return try AdminClient(
                address, token: try token(settings, address, logger), authoritiesFile: authorities)
        } catch {
            throw CommandError(.usage, error.message)
        }
    }

    /// The address that the server's configuration file has.
    private func configured(_ settings: Settings) throws -> String? {
        if let socket = try settings.string("adminSocket") { return "unix:" + socket }
        guard let port = try settings.integer("adminPort", 1...65_535) else { return nil }
        let host = try settings.string("adminHost") ?? "127.0.0.1"
        let reached = ["0.0.0.0", "::"].contains(host) ? "127.0.0.1" : host
        return "http://\(reached.contains(":") ? "[\(reached)]" : reached):\(port)"
    }

    private func token(
        _ settings: Settings, _ address: AdminClient.Address, _ logger: Logger
    ) throws(RoomServerError) -> String? {
        func file(_ path: String) throws(RoomServerError) -> String {
            String(decoding: try SecretFile.secret(path, logger), as: UTF8.self)
        }
        if let adminTokenFile { return try file(adminTokenFile) }
        if case .socket = address { return nil }
        if let token = Environment.value(of: "adminToken") { return token }
        if let path = try? settings.string("adminTokenFile") { return try file(path) }
        return nil
    }

    /// Sends a request. Throws when the server refuses it or cannot be reached.
    func ask(
        _ method: String, _ path: [String], _ query: [(name: String, value: String)] = [], body: String = ""
    ) async throws -> AdminJSON {
        let answer: AdminClient.Answer
        do {
            answer = try await client().request(method, path, query: query, body: Array(body.utf8))
        } catch let error as RoomServerError {
            throw Self.unreachable(error)
        }
        return try Self.checked(answer)
    }

    static func unreachable(_ error: RoomServerError) -> CommandError {
        CommandError(.unavailable, "the admin API cannot be reached: \(error.message)")
    }

    static func checked(_ answer: AdminClient.Answer) throws -> AdminJSON {
        let json = AdminJSON(answer.body)
        if (200...299).contains(answer.status) {
            guard let json else { throw CommandError(.refused, "the server's answer is no JSON: is it the admin API?") }
            return json
        }
        let error = json?["error"]
        let code = error?["code"]?.string ?? "status \(answer.status)"
        var message = error?["message"]?.string ?? "The server has answered with the status \(answer.status)."
        if code == "unauthorized" {
            message =
                "The admin token is missing or wrong: name its file with --admin-token-file, or set ROOM_ADMIN_TOKEN."
        }
        throw CommandError(.refused, "\(code): \(message)")
    }

    /// Prints an object as a line of JSON, or what people read.
    func show(_ object: AdminJSON, _ people: @autoclosure () -> StyledText) {
        if json { Output.line(object.line) } else { Output.line(people()) }
    }

    func warnIfForgotten(_ answer: AdminJSON) {
        guard answer["remembered"]?.isTrue == false else { return }
        Output.printError("room: warning: this is in force, but a restart of the server will forget it")
    }

    func warnIfPartial(_ answer: AdminJSON) {
        guard answer["partial"]?.isTrue == true else { return }
        Output.printError("room: warning: a part of the server did not answer in time: something is missing")
    }
}

private struct AdminRoomsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rooms", abstract: "List the rooms.")

    @OptionGroup var target: AdminTarget

    @Option(help: "Only rooms whose names begin with this.") var prefix: String?

    func run() async throws {
        var rooms: [AdminJSON] = []
        var after: String?
        repeat {
            var query = [(name: "limit", value: "1000")]
            if let prefix { query.append(("prefix", prefix)) }
            if let after { query.append(("after", after)) }
            let page = try await target.ask("GET", ["rooms"], query)
            target.warnIfPartial(page)
            if target.json { for room in page["rooms"]?.list ?? [] { Output.line(room.line) } }
            if !target.json { rooms += page["rooms"]?.list ?? [] }
            after = page["next"]?.string
        } while after != nil
        guard !target.json else { return }
        guard !rooms.isEmpty else { return Output.line("no rooms") }
        let hasNodes = rooms.contains { $0["node"] != nil }
        AdminTable.print(
            ["ROOM", "PARTICIPANTS", "CONNECTED", "HOST", "OPEN FOR"] + (hasNodes ? ["NODE"] : []),
            rooms.map { room in
                [
                    room["name"]?.shown ?? "", room["participants"]?.shown ?? "", room["connected"]?.shown ?? "",
                    room["host"]?.shown ?? "-", AdminTable.duration(room["age"]),
                ] + (hasNodes ? [room["node"]?.shown ?? "-"] : [])
            })
    }
}

private struct AdminRoomCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "room", abstract: "Show a room with its participants.")

    @OptionGroup var target: AdminTarget

    @Argument(help: "The room's name.") var room: String

    func run() async throws {
        let answer = try await target.ask("GET", ["rooms", room])
        if target.json { return Output.line(answer.line) }
        let name = Output.coloured(answer["name"]?.shown ?? room, Output.bold)
        let bytes = answer["attributeBytes"]?.shown ?? "0"
        Output.line("\(name)  open for \(AdminTable.duration(answer["age"])), attributes of \(bytes) bytes")
        AdminTable.print(
            ["PARTICIPANT", "NAME", "ROLE", "STATE", "HERE FOR", "METADATA"],
            (answer["members"]?.list ?? []).map { member in
                let isConnected = member["connected"]?.isTrue == true
                return [
                    member["id"]?.shown ?? "", member["name"]?.shown ?? "", member["role"]?.shown ?? "",
                    isConnected ? "connected" : "gone, may return for \(AdminTable.duration(member["graceLeft"]))",
                    AdminTable.duration(member["age"]), "\(member["metadataBytes"]?.shown ?? "0") bytes",
                ]
            })
    }
}

private struct AdminKickCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kick", abstract: "Remove a participant, which cannot come back under its name.")

    @OptionGroup var target: AdminTarget

    @Argument(help: "The room's name.") var room: String
    @Argument(help: "The participant's id or name.") var participant: String
    @Option(help: "Shown to the participant.") var reason: String?

    @Option(
        help:
            """
            Seconds for which nobody can join the room under this name, also when it has ended, up to 2592000 (30 days).
            """
    )
    var ban: Int?

    func run() async throws {
        let members = try await target.ask("GET", ["rooms", room])["members"]?.list ?? []
        let member =
            members.first { $0["id"]?.string == participant } ?? members.first { $0["name"]?.string == participant }
        guard let id = member?["id"]?.string else {
            throw CommandError(
                .refused, "participant_not_found: The room '\(room)' has no participant '\(participant)'.")
        }
        var query = reason.map { [(name: "reason", value: $0)] } ?? []
        if let ban { query.append(("ban", "\(ban)")) }
        let answer = try await target.ask("DELETE", ["rooms", room, "participants", id], query)
        target.warnIfForgotten(answer)
        target.show(answer, "removed \(answer["kicked"]?["name"]?.shown ?? participant)")
    }
}

private struct AdminCloseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close", abstract: "Close a room, and end the sessions of all of its participants.")

    @OptionGroup var target: AdminTarget

    @Argument(help: "The room's name.") var room: String
    @Option(help: "Shown to the participants.") var reason: String?

    func run() async throws {
        let query = reason.map { [(name: "reason", value: $0)] } ?? []
        let answer = try await target.ask("DELETE", ["rooms", room], query)
        target.warnIfForgotten(answer)
        target.show(answer, "closed \(room), with participants: \(answer["participants"]?.shown ?? "0")")
    }
}

private struct AdminDrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Let the server tell its clients to return later, and end.")

    @OptionGroup var target: AdminTarget

    @Option(help: "Seconds until the server ends at the latest, 0 to 3600. Default: as for SIGTERM.")
    var deadline: Double?

    func run() async throws {
        if let deadline, !(0...3600).contains(deadline) {
            throw CommandError(.usage, "--deadline must be a number of seconds from 0 to 3600")
        }
        let body = deadline.map { "{\"deadline\":\(String(format: "%.3f", $0))}" } ?? ""
        let answer = try await target.ask("PUT", ["drain"], body: body)
        target.show(answer, "the server drains, and ends")
    }
}

private struct AdminInfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Show what the server is and does.")

    @OptionGroup var target: AdminTarget

    func run() async throws {
        let answer = try await target.ask("GET", ["info"])
        target.warnIfPartial(answer)
        if target.json { return Output.line(answer.line) }
        for name in ["state", "version", "url", "uptime", "threads", "rooms", "participants", "connections"] {
            guard let value = answer[name] else { continue }
            let text = name == "uptime" ? AdminTable.duration(value) : value.shown
            Output.line("\(name.padding(toLength: 14, withPad: " ", startingAt: 0))\(text)")
        }
        let hooks = answer["webhooks"]?.list ?? []
        guard !hooks.isEmpty else { return }
        AdminTable.print(
            ["WEBHOOK", "WAITING", "DROPPED", "STATE"],
            hooks.map { hook in
                [
                    hook["url"]?.shown ?? "", hook["waiting"]?.shown ?? "", hook["dropped"]?.shown ?? "",
                    hook["disabled"]?.isTrue == true ? "disabled: it has answered 410" : "ok",
                ]
            })
    }
}

private struct AdminEventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Print the events of rooms and participants as they happen.",
        discussion: "When the connection breaks, it is made anew, and what happened meanwhile is printed first.")

    @OptionGroup var target: AdminTarget

    @Option(help: "Begin after the event with this id, if the server still has it.") var after: String?

    func run() async throws {
        let last = LastEvent(after)
        let isJSON = target.json
        let client = try target.client()
        var wasOpen = false
        while true {
            do {
                let refusal = try await client.events(after: last.id, isOpen: { last.opened() }) { event in
                    last.saw(event)
                    Self.show(event, isJSON)
                }
                if let refusal { _ = try AdminTarget.checked(refusal) }
            } catch let error as RoomServerError {
                wasOpen = wasOpen || last.wasOpen
                // The first time, the address is more likely wrong than the server away.
                guard wasOpen else { throw AdminTarget.unreachable(error) }
            }
            Output.printError("room: the connection has ended; it is made anew")
            try await Task.sleep(for: .seconds(1))
        }
    }

    private static func show(_ event: ServerSentEvent, _ isJSON: Bool) {
        guard let json = AdminJSON(event.data.utf8) else { return }
        if isJSON { return Output.line(json.line) }
        let data = json["data"]
        var text = "\(json["timestamp"]?.shown ?? "")  \(event.type)"
        if let room = data?["room"]?.string { text += "  \(room)" }
        if let participant = data?["participant"] {
            text += "  \(participant["name"]?.shown ?? "") (\(participant["id"]?.shown ?? ""))"
        }
        for name in ["by", "cause", "reason"] {
            if let value = data?[name]?.string { text += "  \(name): \(value)" }
        }
        Output.line("\(text)")
    }
}

/// The last event that was printed.
private final class LastEvent: Sendable {
    private let state: Locked<(id: String?, wasOpen: Bool)>
    init(_ id: String?) { state = Locked((id, false)) }
    var id: String? { state.withLock { $0.id } }
    var wasOpen: Bool { state.withLock { $0.wasOpen } }
    func opened() { state.withLock { $0.wasOpen = true } }
    func saw(_ event: ServerSentEvent) { if let id = event.id { state.withLock { $0.id = id } } }
}

/// Tables for people.
enum AdminTable {
    static func print(_ header: [String], _ rows: [[String]]) {
        let rows = rows.map { $0.map { VisibleText.escaping($0) } }
        let widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        func line(_ cells: [String]) -> String {
            let padded = zip(cells, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            let text = padded.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }
        Output.line(Output.coloured(line(header), Output.bold))
        for row in rows { Output.line("\(line(row))") }
    }

    /// Seconds as `3 d 4 h`, `12 min`, `5 s`.
    static func duration(_ value: AdminJSON?) -> String {
        guard let seconds = value?.double, seconds.isFinite, seconds < 1e12 else { return "-" }
        let whole = Int(max(0, seconds))
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3600: return "\(whole / 60) min"
        case ..<86_400: return "\(whole / 3600) h \(whole / 60 % 60) min"
        default: return "\(whole / 86_400) d \(whole / 3600 % 24) h"
        }
    }
}
