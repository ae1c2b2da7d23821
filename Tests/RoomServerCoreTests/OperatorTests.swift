import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Operators: what they see of rooms, and what they change")
struct OperatorTests {
    private let lobby = RoomName("lobby")

    private func kick(_ name: String, _ server: ServerHarness, reason: String = "") -> OperatorOutcome {
        let id = server.joined(name)?.participant ?? ParticipantID("nobody")
        let (outcome, actions) = server.machine.kick(id, from: lobby, reason: reason, at: server.now)
        server.perform(actions)
        return outcome
    }

    private func close(_ server: ServerHarness, reason: String = "") -> OperatorOutcome {
        let (outcome, actions) = server.machine.close(lobby, reason: reason, at: server.now)
        server.perform(actions)
        return outcome
    }

    // MARK: Kick

    @Test func anOperatorsKickLooksLikeOneByTheHostAndIsRememberedLikeOne() throws {
        let byHost = ServerHarness.lobby(guests: ["bob", "eve"])
        let byOperator = ServerHarness.lobby(guests: ["bob", "eve"])
        byHost.kick("bob", by: "ann")
        guard case .done(let subjects) = kick("bob", byOperator) else { throw Failure() }
        #expect(subjects.map(\.name) == ["bob"])
        for server in [byHost, byOperator] {
            #expect(server.clients["bob"]?.closed == CloseCode.refused.rawValue)
            #expect(server.take("eve").compactMap(\.left) == [.kicked])
            #expect(server.names == ["ann", "eve"])
            // Neither with the session nor under the name.
            server.comeBack("bob")
            #expect(server.lastError("bob")?.code == .kicked)
            server.join("bob")
            #expect(server.lastError("bob")?.code == .kicked)
        }
    }

    @Test func theReasonOfAKickIsShown() {
        let server = ServerHarness.lobby()
        _ = kick("bob", server, reason: "spam")
        #expect(server.lastError("bob")?.message.hasSuffix("Reason: spam") == true)
    }

    @Test func anOperatorMayRemoveTheHostAndTheNextOneIsElected() {
        let server = ServerHarness.lobby(guests: ["bob", "eve"])
        _ = kick("ann", server)
        #expect(server.host == "bob")
        #expect(server.take("eve").compactMap(\.hostTerm) == [2])
    }

    @Test func aKickOfAParticipantWithinItsGracePeriodEndsItsSession() {
        let server = ServerHarness.lobby()
        server.drop("bob")
        _ = kick("bob", server)
        #expect(server.names == ["ann"])
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .kicked)
    }

    @Test func aKickOfNobodyChangesNothing() {
        let server = ServerHarness.lobby()
        #expect(
            server.machine.kick(ParticipantID("x"), from: lobby, reason: "", at: server.now).outcome
                == .noSuchParticipant)
        #expect(
            server.machine.kick(ParticipantID("x"), from: RoomName("hall"), reason: "", at: server.now).outcome
                == .noSuchRoom)
        #expect(server.names == ["ann", "bob"])
    }

    // MARK: Close

    @Test func anOperatorsCloseLooksLikeOneByTheHostAndIsRememberedLikeOne() {
        let byHost = ServerHarness.lobby()
        let byOperator = ServerHarness.lobby()
        byHost.sayNumbered(.closeRoom(reason: "over"), as: "ann")
        #expect(close(byOperator, reason: "over") != .noSuchRoom)
        for server in [byHost, byOperator] {
            let error = server.lastError("bob")
            #expect(error?.code == .roomClosed && error?.message.hasSuffix("Reason: over") == true)
            #expect(server.machine.report(of: lobby) == nil && server.machine.load.rooms == 0)
            #expect(server.machine.load.connections == 0 && server.machine.load.participants == 0)
            server.comeBack("bob")
            #expect(server.lastError("bob")?.code == .roomClosed)
            // A host creates it again.
            server.join("ann", .host)
            server.join("bob")
            #expect(server.names == ["ann", "bob"])
        }
        #expect(close(byOperator) != .noSuchRoom)
        #expect(close(byOperator) == .noSuchRoom)
    }

    // MARK: Lists

    @Test func roomsAreListedInTheOrderOfTheirBytesPageByPage() {
        let server = ServerHarness()
        let names = ["b", "a", "ä", "c", "Z"]
        for name in names { server.join("host of \(name)", .host, room: name) }
        let all = server.machine.rooms(after: nil, limit: 10)
        #expect(all.map(\.name.rawValue) == ["Z", "a", "b", "c", "ä"])
        #expect(all.allSatisfy { $0.participants == 1 && $0.connected == 1 })
        #expect(all.first?.host == "host of Z")
        var paged: [String] = []
        var last: RoomName?
        while case let page = server.machine.rooms(after: last, limit: 2), let end = page.last {
            #expect(page.count <= 2)
            paged += page.map(\.name.rawValue)
            last = end.name
        }
        #expect(paged == all.map(\.name.rawValue))
        #expect(server.machine.rooms(after: nil, prefix: "ä", limit: 10).map(\.name.rawValue) == ["ä"])
    }

    @Test func aReportSaysWhoIsThereSinceWhenAndWhoMayReturn() throws {
        let server = ServerHarness()
        server.join("ann", .host)
        let begin = server.now
        server.pass(.seconds(5))
        server.join("bob", metadata: ["mood": "good"])
        server.drop("bob")
        let report = try #require(server.machine.report(of: lobby))
        #expect(report.summary.openedAt == begin && report.summary.host == "ann")
        #expect(report.summary.participants == 2 && report.summary.connected == 1)
        #expect(report.members.map(\.participant.name) == ["ann", "bob"])
        #expect(report.members.map(\.joinedAt) == [begin, begin + .seconds(5)])
        #expect(report.members.map(\.graceEnd) == [nil, server.now + .seconds(30)])
        #expect(report.members.map(\.metadataBytes) == [0, 8])
    }

    // MARK: Events

    /// The events since the last call, as text.
    private func events(_ server: ServerHarness) -> [String] {
        server.machine.takeLifeEvents().map { event in
            switch event.kind {
            case .roomOpened: "opened"
            case .roomClosed(let author, _): "closed by \(author?.rawValue ?? "nobody")"
            case .participantJoined(let subject, let isReturn): "\(subject.name) \(isReturn ? "returned" : "joined")"
            case .participantLeft(let subject, let reason, let author, _):
                "\(subject.name) \(reason)" + (author.map { " by \($0)" } ?? "")
            case .hostChanged(let subject, let term): "host \(subject.name) \(term)"
            }
        }
    }

    private func recording(_ members: String...) -> ServerHarness {
        let server = ServerHarness()
        server.machine.recordsLife = true
        for name in members { server.join(name, name == members.first ? .host : .guest) }
        return server
    }

    @Test func theLifeOfARoomIsToldInOrder() {
        let server = recording("ann", "bob", "eve")
        #expect(events(server) == ["opened", "ann joined", "host ann 1", "bob joined", "eve joined"])
        server.kick("bob", by: "ann")
        _ = kick("ann", server)
        #expect(events(server) == ["bob kicked by host", "ann kicked by operator", "host eve 2"])
        server.sayNumbered(.leave, as: "eve")
        #expect(events(server) == ["eve left"])
        server.pass(.seconds(60))
        #expect(events(server) == ["closed by nobody"])
    }

    @Test func anOutageWithinTheGracePeriodIsNoEventAndALongerOneIs() {
        let server = recording("ann", "bob")
        _ = events(server)
        server.drop("bob")
        server.pass(.seconds(10))
        server.comeBack("bob")
        #expect(events(server).isEmpty)
        server.drop("bob")
        server.pass(.seconds(31))
        #expect(events(server) == ["bob timedOut"])
    }

    @Test func aServerThatHasLostItsStateTellsWhoHasReturned() {
        let server = recording("ann", "bob")
        server.restartServer()
        server.machine.recordsLife = true
        server.comeBack("ann", role: .host)
        server.comeBack("bob")
        #expect(events(server) == ["opened", "ann returned", "host ann 1", "bob returned"])
    }

    @Test func everyParticipantOfAClosedRoomHasItsEvent() {
        let server = recording("ann", "bob")
        _ = events(server)
        _ = close(server)
        #expect(
            events(server) == [
                "ann roomClosed by operator", "bob roomClosed by operator", "closed by operator",
            ])
    }

    @Test func aRefusedJoinOpensNoRoomAndNothingIsRecordedUnasked() {
        let server = recording()
        server.join("bob")
        #expect(events(server).isEmpty)
        let silent = ServerHarness.lobby()
        #expect(silent.machine.takeLifeEvents().isEmpty)
    }

    private struct Failure: Error {}
}
