import RoomProtocol
import Testing
import TransportValues

@testable import RoomServerCore

@Suite("Marks: what a restart must not change")
struct MarkTests {
    private let lobby = RoomName("lobby")

    /// Restarts the server; after a while both join again.
    private func restart(_ server: ServerHarness, pause: Duration = .zero) {
        server.restartServer(remembers: true)
        server.pass(pause)
        server.join("ann", .host)
        server.join("bob")
    }

    @Test func whoWasKickedStaysAwayAfterARestart() {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.kick("bob", by: "ann")
        server.restartServer(remembers: true)
        server.comeBack("ann", role: .host)
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .kicked)
        server.join("bob")
        #expect(server.lastError("bob")?.code == .kicked)
        server.comeBack("carol")
        #expect(server.names == ["ann", "carol"])
    }

    @Test func withoutMarksARestartForgets() {
        let server = ServerHarness.lobby()
        server.kick("bob", by: "ann")
        server.restartServer()
        server.comeBack("bob")
        #expect(server.names == ["bob"])
    }

    @Test func aSessionThatWasLeftCannotReturnAfterARestart() {
        let server = ServerHarness.lobby()
        server.say(.leave, as: "bob")
        server.restartServer(remembers: true)
        server.comeBack("ann", role: .host)
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .staleEpoch)
        // As a newcomer it may come.
        server.join("bob")
        #expect(server.names == ["ann", "bob"])
    }

    @Test func aClosedRoomStaysClosedForItsSessionsUntilAHostCreatesIt() {
        let server = ServerHarness.lobby()
        server.sayNumbered(.closeRoom(reason: ""), as: "ann")
        server.restartServer(remembers: true)
        server.comeBack("bob")
        #expect(server.lastError("bob")?.code == .roomClosed)
        server.join("dora", .host)
        #expect(server.names == ["dora"])
        // The new room is another one, and open after the next restart.
        server.restartServer(remembers: true)
        server.comeBack("dora", role: .host)
        #expect(server.names == ["dora"])
    }

    @Test func aSessionWhoseNameWasTakenCannotReturnAfterARestart() {
        let server = ServerHarness.lobby { $0.duplicateNames = .replace }
        let old = server.token("bob")
        server.join("bob")
        server.say(.ping(id: 1), as: "bob")
        server.restartServer(remembers: true)
        server.comeBack("bob", token: old)
        #expect(server.lastError("bob")?.code == .replaced)
    }

    @Test func aKickedNameIsForgottenWithItsRoom() {
        let server = ServerHarness.lobby()
        server.kick("bob", by: "ann")
        server.say(.leave, as: "ann")
        server.pass(.seconds(31))
        #expect(server.marks.last == Mark(.roomRemoved, in: lobby))
        restart(server)
        #expect(server.names == ["ann", "bob"])
    }

    /// Otherwise it would come back with the token that it has shown, once the room has ended.
    @Test func aKickedNameIsBannedAsLongAsItsJoinTokenIsValid() {
        var authority = TrustingAuthority()
        authority.tokenValidity = .seconds(600)
        let server = ServerHarness(authority: authority)
        server.join("ann", .host)
        server.join("bob", token: "t")
        server.pass(.seconds(100))
        server.kick("bob", by: "ann")
        server.say(.leave, as: "ann")
        server.pass(.seconds(60))
        server.restartServer(remembers: true)
        server.join("ann", .host)
        server.join("bob", token: "t")
        #expect(server.lastError("bob")?.code == .kicked)
        // Its host closes the room, and creates it again.
        server.sayNumbered(.closeRoom(reason: ""), as: "ann")
        server.join("ann", .host)
        server.join("bob", token: "t")
        #expect(server.lastError("bob")?.code == .kicked)
        server.pass(.seconds(500))
        server.join("bob", token: "another")
        #expect(server.names == ["ann", "bob"])
    }

    @Test func aBanHoldsForItsTimeWhateverHappensToTheRoom() {
        let server = ServerHarness.lobby()
        let bob = server.joined("bob")?.participant ?? ParticipantID("none")
        server.perform(
            server.machine.kick(bob, from: lobby, reason: "", ban: .seconds(3600), at: server.now).actions)
        server.say(.leave, as: "ann")
        server.pass(.seconds(3599))
        server.join("ann", .host)
        server.join("bob")
        #expect(server.lastError("bob")?.code == .kicked)
        server.pass(.seconds(1))
        server.join("bob")
        #expect(server.names == ["ann", "bob"])
    }

    @Test func theNextOwnerOfARoomIsToldWhichNamesMayComeAgain() {
        let server = ServerHarness.lobby(guests: ["bob", "carol"])
        server.machine.own(lobby, fence: 1, facts: [.kickedName("dora")])
        server.kick("bob", by: "ann")
        let carol = server.joined("carol")?.participant ?? ParticipantID("none")
        server.perform(
            server.machine.kick(carol, from: lobby, reason: "", ban: .seconds(100), at: server.now).actions)
        server.join("dora")
        #expect(server.lastError("dora")?.code == .kicked)
        _ = server.machine.takeFacts()
        server.say(.leave, as: "ann")
        server.pass(.seconds(30))
        #expect(
            server.machine.takeFacts().map(\.fact).filter { if case .left = $0 { false } else { true } } == [
                .forgottenName("bob"), .forgottenName("carol"), .bannedName("carol", for: .seconds(70)),
            ])
    }

    @Test func aRoomThatNobodyRebuildsInTimeCountsAsRemoved() {
        let server = ServerHarness.lobby()
        server.kick("bob", by: "ann")
        restart(server, pause: .seconds(59))
        #expect(server.lastError("bob")?.code == .kicked)
        // The grace period, and the time of an empty room.
        restart(server, pause: .seconds(61))
        #expect(server.names == ["ann", "bob"])
    }

    @Test func aRestoredNameStaysKickedAsLongAsTheRoomIsThere() {
        let server = ServerHarness.lobby()
        server.kick("bob", by: "ann")
        server.restartServer(remembers: true)
        server.comeBack("ann", role: .host)
        server.pass(.seconds(3600))
        server.join("bob")
        #expect(server.lastError("bob")?.code == .kicked)
    }

    @Test func marksAreMadeOnlyWhereTheyAreKept() {
        let server = ServerHarness.lobby()
        server.machine.makesMarks = false
        server.kick("bob", by: "ann")
        #expect(server.marks.isEmpty)
    }

    // MARK: Values

    private let facts: [Mark.Fact] = [
        .left(SessionID("s1")), .kicked(SessionID("s2")), .replaced(SessionID("s3")), .nameKicked("bob \"ü\" e\u{301}"),
        .nameBanned("bob"), .roomClosed, .roomCreated, .roomRemoved,
    ]

    @Test func aMarkComesBackFromJSON() {
        for fact in facts {
            let mark = Mark(fact, in: RoomName("hall \\ ü"))
            let decoded = mark.encoded(expiry: 4_000_000_000).withUnsafeBytes { Mark.decode($0) }
            #expect(decoded?.mark == mark && decoded?.expiry == 4_000_000_000)
        }
        for text in ["", "{}", #"{"kind":"new","room":"a","exp":1}"#, #"{"kind":"left","room":"a","exp":1}"#] {
            #expect(Array(text.utf8).withUnsafeBytes { Mark.decode($0) } == nil)
        }
    }

    @Test func theSetKeepsWhatHoldsInItsOrder() {
        var set = MarkSet()
        func add(_ fact: Mark.Fact, _ room: RoomName, _ expiry: UInt64 = 100) {
            set.apply(Mark(fact, in: room), expiry: expiry)
        }
        let hall = RoomName("hall")
        add(.kicked(SessionID("a")), lobby)
        add(.kicked(SessionID("b")), lobby, 50)
        add(.nameKicked("bob"), lobby)
        add(.nameKicked("bob"), hall)
        add(.roomRemoved, hall)
        add(.roomClosed, hall)
        add(.roomClosed, RoomName("cellar"))
        add(.roomCreated, hall)
        add(.kicked(SessionID("a")), lobby, 200)
        #expect(
            set.marks(at: 49).map(\.mark) == [
                Mark(.kicked(SessionID("b")), in: lobby), Mark(.kicked(SessionID("a")), in: lobby),
                Mark(.roomClosed, in: RoomName("cellar")), Mark(.nameKicked("bob"), in: lobby),
            ])
        #expect(set.marks(at: 50).count == 3 && set.marks(at: 100).map(\.expiry) == [200])
        add(.nameBanned("bob"), lobby, 300)
        add(.nameBanned("bob"), lobby, 250)
        add(.roomClosed, lobby)
        #expect(!set.marks(at: 0).contains { $0.mark == Mark(.nameKicked("bob"), in: lobby) })
        // Only the time that is left counts.
        #expect(set.marks(at: 290).map(\.mark) == [Mark(.nameBanned("bob"), in: lobby, for: .seconds(10))])
    }

    @Test func theSetIsBounded() {
        var set = MarkSet(machines: 2)
        for number in 0..<20_000 {
            set.apply(Mark(.left(SessionID("s\(number)")), in: lobby), expiry: 100)
            set.apply(Mark(.roomClosed, in: RoomName("r\(number)")), expiry: 100)
        }
        let marks = set.marks(at: 0)
        #expect(marks.count == 2 * 8192 + 2 * 1024)
        #expect(marks.contains { $0.mark == Mark(.left(SessionID("s19999")), in: lobby) })
        #expect(!marks.contains { $0.mark == Mark(.left(SessionID("s0")), in: lobby) })
    }

    @Test func theLifeOfAMarkIsThatOfTheTokensThatItRefuses() {
        var limits = RoomServerLimits()
        limits.sessionLifetime = .seconds(7200)
        #expect(Mark(.kicked(SessionID("s")), in: lobby).lifetime(limits) == .seconds(7200))
        limits.grace = .seconds(7200)
        #expect(Mark(.roomClosed, in: lobby).lifetime(limits) == .seconds(14_400))
    }
}
