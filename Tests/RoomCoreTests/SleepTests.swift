import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The behaviour of a room whose machine has slept: its clock, CLOCK_MONOTONIC, has stopped meanwhile.
@Suite struct SleepTests {
    private func makeDriver(_ joined: Joined = makeJoined()) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(joined)
        return driver
    }

    @Test func anOpenConnectionIsAskedAndHasItsTimeToAnswer() {
        var driver = makeDriver()
        // A ping is out, and its answer is due in a moment: it may have come and gone.
        driver.run(until: 9.9)
        let actions = driver.feed(.woke(after: .seconds(3600)))
        #expect(actions.sent == [.ping(id: 2)])
        #expect(!driver.run(until: 11.8).contains(.abortTransport(1)))
        #expect(driver.machine.signalingStatus == .connected)
        var silent = driver
        #expect(silent.run(until: 12).contains(.abortTransport(1)))
        driver.receive(.pong(id: 2))
        #expect(!driver.run(until: 16).contains(.abortTransport(1)))
    }

    @Test func anAttemptThatWaitsOrIsUnderWayIsMadeAnew() {
        var driver = makeDriver()
        driver.feed(.transportClosed(1, nil))
        #expect(driver.feed(.woke(after: .seconds(60))).opened == [2])
        let actions = driver.feed(.woke(after: .seconds(60)))
        #expect(actions.contains(.abortTransport(2)) && actions.opened == [3])
        driver.feed(.transportConnected(3))
        #expect(driver.feed(.woke(after: .seconds(60))).opened == [4])
    }

    @Test func aTokenAndRelayCredentialsHaveAged() {
        var driver = RoomDriver(makeConfiguration(hasCredentialProvider: true))
        driver.feed(.started)
        driver.feed(.credentialReady(token: "t", expiresAt: at(100)))
        driver.join(makeJoined(ttl: .seconds(1000)))
        let actions = driver.feed(.woke(after: .seconds(800))) + driver.run(until: 0.1)
        #expect(actions.contains(.closeTransport(1, .normal)), "fresh ICE servers come with a new connection")
        #expect(actions.contains(.requestCredential(forced: false)))
    }

    @Test func whoIsMissedIsGivenItsTimeAgain() {
        var driver = makeDriver(makeJoined(roster: [makeParticipant("z")]))
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 2)
        driver.join(makeJoined(epoch: 2))
        driver.run(until: 11)
        driver.receive(.pong(id: 1))
        driver.run(until: 12)
        driver.feed(.woke(after: .seconds(3600)))
        driver.receive(.pong(id: 2))
        var left = false
        for second in 12..<40 where !left {
            let actions = driver.run(until: Double(second))
            driver.answerPings(in: actions)
            left = actions.events.contains { if case .peerLeft = $0 { true } else { false } }
            #expect(!left || second >= 31, "given up at \(second) s")
        }
        #expect(left)
    }
}
