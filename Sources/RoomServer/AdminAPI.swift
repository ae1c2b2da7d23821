internal import Logging
internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// A path of the admin listener beside its API, such as one with metrics.
struct AdminRoute: Sendable {
    /// The path, such as `/metrics`.
    var path: String
    /// Whether requests over the port need the admin token.
    var needsToken = true
    /// Returns the answer to `GET`. Called on the event loop of the admin API; it must not block for long.
    var answer: @Sendable (RequestHead) -> HTTPResponse
}

/// The answers of the admin API. Lives on an event loop of its own, and asks those of the server, each within a time
/// limit: one that does not answer stops nobody.
final class AdminAPI {
    /// The time within which the server's loops must answer.
    static let answerLimit: Duration = .seconds(2)
    private static let defaultPage = 100
    private static let longestPage = 1000
    private static let longestDrain: Duration = .seconds(3600)
    private static let longestBan = 30 * 86_400

    enum Answer {
        case response(HTTPResponse)
        /// A stream of events, after the one that was seen last.
        case events(after: String?)
    }

    /// The facts about the server that never change.
    struct Facts: Sendable {
        var url: String
        var startedAt = Timestamp.now()
    }

    private let eventLoop: any EventLoop
    private let loops: [NIOLoopBound<ServerLoop>]
    private let hub: EventHub
    private let facts: Facts
    /// The other nodes of the cluster; nil: there are none, or one of them asks.
    private let peers: AdminPeers?
    private let startDrain: @Sendable (Duration?) -> Void
    private let audit: AuditLog
    private var isDraining = false

    init(
        eventLoop: any EventLoop, loops: [NIOLoopBound<ServerLoop>], hub: EventHub, facts: Facts,
        peers: AdminPeers? = nil, logger: Logger, startDrain: @escaping @Sendable (Duration?) -> Void
    ) {
        self.eventLoop = eventLoop
        self.loops = loops
        self.hub = hub
        self.facts = facts
        self.peers = peers
        self.startDrain = startDrain
        audit = AuditLog(logger)
    }

    // MARK: Routes

    func answer(_ request: AdminRequest) -> EventLoopFuture<Answer> {
        do throws(AdminError) {
            return try route(request).flatMapErrorThrowing { .response((($0 as? AdminError) ?? .timeout).response) }
        } catch {
            return eventLoop.makeSucceededFuture(.response(error.response))
        }
    }

    private func route(_ request: AdminRequest) throws(AdminError) -> EventLoopFuture<Answer> {
        guard request.path.first == "v1" else { throw .noSuchPath }
        let path = Array(request.path.dropFirst())
        let isRead = request.method == "GET" || request.method == "HEAD"
        switch (path.first, path.count) {
        case ("info", 1) where isRead: return info()
        case ("rooms", 1) where isRead: return try rooms(request)
        case ("rooms", 2) where isRead: return orElsewhere(path[1], request, try room(path[1]))
        case ("rooms", 2) where request.method == "DELETE": return try close(path[1], request)
        case ("rooms", 4) where path[2] == "participants" && request.method == "DELETE":
            return try kick(path[3], from: path[1], request)
        case ("drain", 1) where request.method == "PUT": return try drain(request)
        case ("events", 1) where request.method == "GET":
            return eventLoop.makeSucceededFuture(.events(after: request.lastEvent))
        case ("info", 1), ("rooms", 1), ("rooms", 2), ("drain", 1), ("events", 1):
            throw AdminError(
                status: "405 Method Not Allowed", code: "method_not_allowed",
                message: "This path does not have the method \(request.method).")
        case ("rooms", 4) where path[2] == "participants":
            throw AdminError(
                status: "405 Method Not Allowed", code: "method_not_allowed",
                message: "A participant can only be removed: DELETE.")
        default: throw .noSuchPath
        }
    }

    // MARK: Asking the loops

    /// The answers of those loops that answer in time.
    private func ask<Value: Sendable>(
        _ question: @escaping @Sendable (ServerLoop) -> Value
    ) -> EventLoopFuture<(values: [Value], isComplete: Bool)> {
        askLater { $0.eventLoop.makeSucceededFuture(question($0)) }
    }

    private func askLater<Value: Sendable>(
        _ question: @escaping @Sendable (ServerLoop) -> EventLoopFuture<Value>
    ) -> EventLoopFuture<(values: [Value], isComplete: Bool)> {
        let promise = eventLoop.makePromise(of: (values: [Value], isComplete: Bool).self)
        let collected = NIOLoopBoundBox<[Value]>([], eventLoop: eventLoop)
        let count = loops.count
        let limit = TimeAmount.nanoseconds(Self.answerLimit.saturatedNanoseconds)
        let timer = eventLoop.scheduleTask(in: limit) { promise.succeed((collected.value, false)) }
        for loop in loops {
            let answer = loop.eventLoop.flatSubmit { question(loop.value) }.hop(to: eventLoop)
            answer.whenSuccess { value in
                collected.value.append(value)
                guard collected.value.count == count else { return }
                timer.cancel()
                promise.succeed((collected.value, true))
            }
        }
        return promise.futureResult
    }

    /// Takes the answer of the loop that has the room; the others have answered nil.
    private static func roomAnswer<Value>(_ answers: (values: [Value?], isComplete: Bool)) throws(AdminError) -> Value {
        if let value = answers.values.compactMap(\.self).first { return value }
        throw answers.isComplete ? .noSuchRoom : .timeout
    }

    /// Returns the answer of the cluster's node that has the room, if this one has not.
    private func orElsewhere(
        _ name: String, _ request: AdminRequest, _ answer: EventLoopFuture<Answer>
    ) -> EventLoopFuture<Answer> {
        guard let peers else { return answer }
        let eventLoop = eventLoop
        return answer.flatMapError { error in
            guard (error as? AdminError)?.code == AdminError.noSuchRoom.code else {
                return eventLoop.makeFailedFuture(error)
            }
            return peers.ask(ownerOf: RoomName(name), request).hop(to: eventLoop).flatMapThrowing { response in
                guard let response else { throw AdminError.noSuchRoom }
                return .response(response)
            }
        }
    }

    // MARK: Reading

    private func info() -> EventLoopFuture<Answer> {
        let hooks = hub.webhooks.map { ($0.shownURL, $0.waitingCount, $0.droppedCount, $0.isDisabled) }
        let (facts, threads, isDraining, consumers) = (facts, loops.count, isDraining, hub.consumerCount)
        let node = peers?.node
        return ask { $0.machine.load }.map { answers in
            let load = answers.values.reduce(into: ServerLoad()) { sum, load in sum = sum + load }
            var json = JSONWriter()
            json.object { json in
                json.member("state", isDraining ? "draining" : "serving")
                json.member("version", RoomServer.version)
                json.member("url", facts.url)
                json.member("node", node)
                json.member("uptime", .now() - facts.startedAt)
                json.member("threads", threads)
                json.member("rooms", load.rooms)
                json.member("participants", load.participants)
                json.member("connections", load.connections)
                json.member("partial", !answers.isComplete)
                json.member("eventConsumers", consumers)
                json.array("webhooks", hooks) { json, hook in
                    json.object { json in
                        json.member("url", hook.0)
                        json.member("waiting", hook.1)
                        json.member("dropped", hook.2)
                        json.member("disabled", hook.3)
                    }
                }
            }
            return .response(HTTPResponse(json: json))
        }
    }

    private func rooms(_ request: AdminRequest) throws(AdminError) -> EventLoopFuture<Answer> {
        var limit = Self.defaultPage
        if let text = request.query["limit"] {
            guard let number = Int(text), (1...Self.longestPage).contains(number) else {
                throw .badRequest("limit must be a whole number from 1 to \(Self.longestPage).")
            }
            limit = number
        }
        let after = request.query["after"].map { RoomName($0) }
        let prefix = request.query["prefix"] ?? ""
        let pageSize = limit
        let node = peers?.node
        // One more, which shows whether there is another page.
        let own = ask { $0.machine.rooms(after: after, prefix: prefix, limit: pageSize + 1) }
        let others = peers?.askAll(request).hop(to: eventLoop).map { answers in
            let pages = answers.answers.map { RoomPage($0.response, of: $0.node) }
            return (pages.compactMap(\.self), answers.isComplete && pages.allSatisfy { $0 != nil })
        }
        return own.and(others ?? eventLoop.makeSucceededFuture(([], true))).map { answers, others in
            let all =
                (answers.values.flatMap(\.self).map { (room: $0, node: node) } + others.0.flatMap(\.rooms))
                .sorted { $0.room.name.rawValue.utf8.lexicographicallyPrecedes($1.room.name.rawValue.utf8) }
            let page = all.prefix(pageSize)
            let hasMore = all.count > pageSize || others.0.contains { $0.hasMore }
            let clock = Clocks()
            var json = JSONWriter()
            json.object { json in
                json.array("rooms", Array(page)) { json, entry in
                    json.object { json in
                        json.members(of: entry.room, clock)
                        json.member("node", entry.node)
                    }
                }
                json.member("next", hasMore ? page.last?.room.name.rawValue : nil)
                json.member("partial", !(answers.isComplete && others.1))
            }
            return .response(HTTPResponse(json: json))
        }
    }

    /// The rooms of another node.
    private struct RoomPage: Sendable {
        var rooms: [(room: RoomSummary, node: String?)]
        var hasMore: Bool

        /// Nil: the answer is none of this version.
        init?(_ response: HTTPResponse, of node: String) {
            let now = Timestamp.now()
            guard case .object(let page)? = response.body.withUnsafeBytes({ try? JSONReader.read($0) }),
                let entries = try? FieldReader(page).objects("rooms", count: AdminAPI.longestPage)
            else { return nil }
            hasMore = page["next"] != nil
            rooms = []
            for entry in entries {
                guard let name = try? entry.string("name", limit: Limits.roomName),
                    let participants = try? entry.integer("participants", limit: 1 << 32),
                    let connected = try? entry.integer("connected", limit: 1 << 32),
                    let age = try? entry.duration("age")
                else { return nil }
                let room = RoomSummary(
                    name: RoomName(name), participants: Int(participants), connected: Int(connected),
                    host: try? entry.optionalString("host", limit: Limits.participantName), openedAt: now - age)
                rooms.append((room, node))
            }
        }
    }

    private func room(_ name: String) throws(AdminError) -> EventLoopFuture<Answer> {
        let room = RoomName(name)
        return ask { $0.machine.report(of: room) }.flatMapThrowing { answers in
            let report = try Self.roomAnswer(answers)
            let clock = Clocks()
            var json = JSONWriter()
            json.object { json in
                json.members(of: report.summary, clock)
                json.member("attributeBytes", report.attributeBytes)
                json.array("members", report.members) { json, member in
                    json.object { $0.members(of: member, clock) }
                }
            }
            return .response(HTTPResponse(json: json))
        }
    }

    // MARK: Changing

    /// The reason that people are shown, in the query.
    private func reason(_ request: AdminRequest) throws(AdminError) -> String {
        let reason = request.query["reason"] ?? ""
        guard reason.utf8.count <= Limits.reason, reason.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw .badRequest("reason must have at most \(Limits.reason) bytes, without control characters.")
        }
        return reason
    }

    /// The seconds for which the name of a participant is banned, in the query.
    private func ban(_ request: AdminRequest) throws(AdminError) -> Int {
        guard let text = request.query["ban"] else { return 0 }
        guard let seconds = Int(text), (0...Self.longestBan).contains(seconds) else {
            throw .badRequest("ban must be a whole number of seconds, at most 30 days.")
        }
        return seconds
    }

    private func kick(
        _ id: String, from name: String, _ request: AdminRequest
    ) throws(AdminError) -> EventLoopFuture<Answer> {
        let (room, participant, reason) = (RoomName(name), ParticipantID(id), try reason(request))
        let seconds = try ban(request)
        let details = [
            "room": name, "participant": id, "reason": reason, "ban": seconds == 0 ? "" : "\(seconds)",
        ]
        return change("kick", name, request, details) { loop in
            loop.kick(participant, from: room, reason: reason, ban: .seconds(seconds))
        } answer: { json, subjects in
            guard let subject = subjects.first else { return }
            json.member("kicked") { json in
                json.member("id", subject.id.rawValue)
                json.member("session", subject.session.rawValue)
                json.member("name", subject.name)
            }
        }
    }

    private func close(_ name: String, _ request: AdminRequest) throws(AdminError) -> EventLoopFuture<Answer> {
        let (room, reason) = (RoomName(name), try reason(request))
        return change("close", name, request, ["room": name, "reason": reason]) { loop in
            loop.close(room, reason: reason)
        } answer: { json, subjects in
            json.member("closed", name)
            json.member("participants", subjects.count)
        }
    }

    private func change(
        _ action: String, _ room: String, _ request: AdminRequest, _ details: [String: String],
        _ change: @escaping @Sendable (ServerLoop) -> EventLoopFuture<OperatorChange>,
        answer: @escaping @Sendable (inout JSONWriter, [RoomLifeEvent.Subject]) -> Void
    ) -> EventLoopFuture<Answer> {
        let (audit, remote) = (audit, request.remote)
        @Sendable func log(_ outcome: String) { audit.record(action, by: remote, outcome: outcome, details) }
        let changes = askLater { loop in change(loop).map { $0.outcome == .noSuchRoom ? nil : $0 } }
        let answers: EventLoopFuture<Answer> = changes.flatMapThrowing { changes in
            let change = try Self.roomAnswer(changes)
            guard case .done(let subjects) = change.outcome else { throw AdminError.noSuchParticipant }
            var json = JSONWriter()
            json.object { json in
                answer(&json, subjects)
                json.member("remembered", change.isKept)
            }
            return .response(HTTPResponse(json: json))
        }
        // Wherever it was done.
        return orElsewhere(room, request, answers).always { log($0.outcome) }
    }

    private func drain(_ request: AdminRequest) throws(AdminError) -> EventLoopFuture<Answer> {
        var deadline: Duration?
        if !request.body.isEmpty {
            let json = request.body.withUnsafeBytes { try? JSONReader.read($0) }
            guard case .object(let members)? = json,
                let given = try? FieldReader(members).duration("deadline"), given <= Self.longestDrain
            else { throw .badRequest("The body must be like {\"deadline\": 10}: seconds, at most an hour.") }
            deadline = given
        }
        audit.record(
            "drain", by: request.remote, outcome: "done",
            ["deadline": deadline.map { "\($0.inSeconds)" } ?? "default"])
        isDraining = true
        startDrain(deadline)
        var json = JSONWriter()
        json.object { json in
            json.member("state", "draining")
            json.member("deadline", deadline)
        }
        return eventLoop.makeSucceededFuture(.response(HTTPResponse(json: json, status: "202 Accepted")))
    }
}

/// Both clocks at one moment: by them, a time of the machine becomes one of day.
private struct Clocks: Sendable {
    let wall = WallClock.now()
    let monotonic = Timestamp.now()

    func text(_ time: Timestamp) -> String { WallClock.text(wall - (monotonic - time).inSeconds) }
}

extension JSONWriter {
    fileprivate mutating func members(of room: RoomSummary, _ clock: Clocks) {
        member("name", room.name.rawValue)
        member("participants", room.participants)
        member("connected", room.connected)
        member("host", room.host)
        member("openedAt", clock.text(room.openedAt))
        member("age", clock.monotonic - room.openedAt)
    }

    fileprivate mutating func members(of member: RoomReport.Member, _ clock: Clocks) {
        let participant = member.participant
        self.member("id", participant.id.rawValue)
        self.member("session", participant.session.rawValue)
        self.member("name", participant.name)
        self.member("role", participant.isHost ? "host" : "guest")
        self.member("connected", member.graceEnd == nil)
        self.member("graceLeft", member.graceEnd.map { $0 - clock.monotonic })
        self.member("joinedAt", clock.text(member.joinedAt))
        self.member("age", clock.monotonic - member.joinedAt)
        self.member("epoch", participant.epoch)
        self.member("metadataBytes", member.metadataBytes)
        self.member("capabilities", participant.capabilities)
    }
}
