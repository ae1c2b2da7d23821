import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite("A room that does not exist yet, and its attributes")
struct RoomAttributesTests {
    private func makeDriver(isHost: Bool = false, attributes: RoomAttributes = RoomAttributes()) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(isHost: isHost, attributes: attributes))
        return driver
    }

    /// A started guest that waits for its room.
    private func makeWaiting() -> RoomDriver {
        var configuration = makeConfiguration()
        configuration.waitsForRoom = true
        var driver = RoomDriver(configuration)
        driver.feed(.started)
        return driver
    }

    private func changes(_ actions: [RoomMachine.Action]) -> [Set<String>] {
        actions.events.compactMap { if case .attributesChanged(_, let changes) = $0 { changes } else { nil } }
    }

    private func updates(_ actions: [RoomMachine.Action]) -> [RoomAttributes] {
        actions.sent.compactMap { if case .updateRoom(let attributes) = $0 { attributes } else { nil } }
    }

    // MARK: Waiting

    @Test func aGuestThatWaitsSaysSoAndIsPatientAsLongAsTheServerIsAlive() throws {
        var driver = makeWaiting()
        #expect(driver.feed(.transportConnected(1)).hellos.first?.waitsForRoom == true)
        driver.receive(.waiting(pingInterval: .seconds(5), pingDeadline: .seconds(5)))
        #expect(
            driver.machine.signalingStatus == .connecting(attempt: 1, nextAttemptAt: nil, cause: .waitingForRoom))
        for second in [5.0, 10, 15, 20] {
            driver.run(until: second)
            #expect(driver.receive(.ping(id: 1)).sent == [.pong(id: 1)])
        }
        let events = driver.receive(.joined(makeJoined())).events
        #expect(events.first == .signaling(.connected))
    }

    @Test func aServerThatFallsSilentWhileTheGuestWaitsIsLeft() {
        var driver = makeWaiting()
        driver.feed(.transportConnected(1))
        driver.receive(.waiting(pingInterval: .seconds(5), pingDeadline: .seconds(5)))
        #expect(driver.run(until: 9.9).filter { $0 == .abortTransport(1) }.isEmpty)
        #expect(driver.run(until: 11).contains(.abortTransport(1)))
    }

    @Test func aServerThatLetsNobodyWaitIsAskedAgain() {
        var driver = makeWaiting()
        driver.feed(.transportConnected(1))
        driver.receive(.error(makeError(.roomNotFound)))
        #expect(!driver.machine.isEnded && driver.run(until: 2).opened == [2])
    }

    // MARK: Attributes

    @Test func changesSayWhichKeysAreOther() {
        var driver = makeDriver(attributes: RoomAttributes(version: 1, values: ["map": "ice", "mode": "race"]))
        #expect(driver.machine.attributes == ["map": "ice", "mode": "race"])
        let actions = driver.receive(
            .roomChanged(RoomAttributes(version: 2, values: ["map": "desert", "laps": "3"])), sequence: 1)
        #expect(changes(actions) == [["map", "mode", "laps"]])
        let older = RoomAttributes(version: 1, values: [:])
        #expect(changes(driver.receive(.roomChanged(older), sequence: 2)).isEmpty)
    }

    @Test func guestsCannotSetThem() {
        var driver = makeDriver()
        let actions = driver.feed(.attributesUpdated(["map": "desert"]))
        #expect(updates(actions).isEmpty && driver.machine.attributes.isEmpty)
        #expect(
            actions.events.contains { if case .error(let error) = $0 { error.protocolCode == .notHost } else { false } }
        )
    }

    @Test func theHostSetsThemAndTellsAServerThatHasLostThem() {
        var driver = makeDriver(isHost: true)
        let actions = driver.feed(.attributesUpdated(["map": "desert"]))
        let set = RoomAttributes(version: 1, values: ["map": "desert"])
        #expect(updates(actions) == [set] && changes(actions) == [["map"]])
        // The server's own word of it is no news.
        #expect(changes(driver.receive(.roomChanged(set), sequence: 1)).isEmpty)
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: 2)
        let rejoined = driver.join(makeJoined(epoch: 2, isHost: true))
        #expect(updates(rejoined) == [set] && changes(rejoined).isEmpty)
        #expect(driver.machine.attributes == ["map": "desert"])
    }

    @Test func aNewHostTellsAServerThatHasLostThem() {
        var driver = makeDriver(attributes: RoomAttributes(version: 4, values: ["map": "ice"]))
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: 2)
        #expect(updates(driver.join(makeJoined(epoch: 2, hostTerm: 0))).isEmpty)
        let elected = driver.receive(.hostChanged(ParticipantID("m"), term: 2, sessionToken: "t"), sequence: 1)
        #expect(updates(elected) == [RoomAttributes(version: 4, values: ["map": "ice"])])
    }

    @Test func whatAnotherHostHasSetUnderTheSameVersionCounts() {
        var driver = makeDriver(isHost: true)
        driver.feed(.attributesUpdated(["map": "desert"]))
        let others = RoomAttributes(version: 1, values: ["map": "ice"])
        #expect(changes(driver.receive(.roomChanged(others), sequence: 1)) == [["map"]])
        #expect(driver.machine.attributes == ["map": "ice"])
    }

    @Test func changesOfAParticipantSayWhatIsOther() {
        let before = makeParticipant("z", metadata: ["colour": "red", "size": "1"])
        let after = makeParticipant("z", epoch: 2, metadata: ["colour": "blue", "size": "1"], isHost: true)
        let changes = ParticipantChanges(from: before, to: after)
        #expect(changes.metadata == ["colour"] && changes.isHostRole && changes.hasRejoined)
    }
}
