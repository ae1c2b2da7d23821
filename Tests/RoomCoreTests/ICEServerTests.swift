import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct ICEServerTests {
    private func makeDriver() -> RoomDriver {
        var configuration = makeConfiguration()
        configuration.hasICEServerProvider = true
        return RoomDriver(configuration)
    }

    private let own = ICEServer(urls: ["turn:own"], username: "u", credential: "1")
    private let fresh = ICEServer(urls: ["turn:own"], username: "u", credential: "2")

    private func created(_ actions: [RoomMachine.Action]) -> [[ICEServer]] {
        actions.commands.compactMap { if case .create(_, let servers) = $0 { servers } else { nil } }
    }

    private func updated(_ actions: [RoomMachine.Action]) -> [[ICEServer]] {
        actions.commands.compactMap { if case .updateICEServers(let servers) = $0 { servers } else { nil } }
    }

    /// A started room whose provider has given a list for 100 s.
    private func makeProvided() -> RoomDriver {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.iceServersProvided([own], ttl: .seconds(100)))
        return driver
    }

    @Test func theProviderIsAskedAtTheStartAndNothingWaitsForIt() {
        var driver = makeDriver()
        let actions = driver.feed(.started)
        #expect(actions.contains(.requestICEServers) && actions.opened == [1])
        // Its list comes late, and is used beside the server's.
        let joined = driver.join(
            makeJoined(roster: [makeParticipant("z")], servers: [.init(urls: ["stun:server"])]))
        let servers = ICEServer(urls: ["stun:server"], username: nil, credential: nil)
        #expect(created(joined) == [[servers]])
        let later = driver.feed(.iceServersProvided([own, servers], ttl: .seconds(600)))
        #expect(updated(later) == [[servers, own]], "what both have is there once")
    }

    @Test func aListThatCameBeforeTheRoomIsThereForTheFirstConnection() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.iceServersProvided([own], ttl: nil))
        #expect(created(driver.join(makeJoined(roster: [makeParticipant("z")]))) == [[own]])
    }

    @Test func theProviderIsAskedAgainBeforeItsListExpires() {
        var driver = makeProvided()
        driver.join(makeJoined(roster: [makeParticipant("z")]))
        #expect(!driver.runAnswered(until: 69.5).contains(.requestICEServers))
        let actions = driver.runAnswered(until: 71)
        #expect(actions.contains(.requestICEServers))
        #expect(actions.opened.isEmpty, "the room is not left for it, as it is for the server's")
        #expect(updated(driver.feed(.iceServersProvided([fresh], ttl: .seconds(100)))) == [[fresh]])
        #expect(driver.runAnswered(until: 142).contains(.requestICEServers))
    }

    @Test func theProviderIsAskedAgainAlsoWhileTheServerIsAway() {
        var driver = makeProvided()
        driver.join(makeJoined(ttl: .seconds(100)))
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 2)
        let actions = driver.run(until: 75)
        #expect(actions.contains(.requestICEServers))
    }

    @Test func anAttemptToComeBackTakesAFreshListAlongWhereHalfOfItsLifeIsOver() {
        var driver = makeProvided()
        driver.join(makeJoined())
        _ = driver.runAnswered(until: 40)
        driver.feed(.transportClosed(driver.generation, nil))
        #expect(!driver.run(until: 41).contains(.requestICEServers))
        driver.join(makeJoined(isResumed: true))
        _ = driver.runAnswered(until: 55)
        driver.feed(.transportClosed(driver.generation, nil))
        let actions = driver.run(until: 56)
        #expect(actions.contains(.requestICEServers) && !actions.opened.isEmpty)
    }

    @Test func aProviderThatFailsIsToldOnceAndAskedAgainMoreRarely() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.join(makeJoined())
        let failure = SignalingFailure("down")
        var errors = driver.feed(.iceServersFailed(failure)).events
        var times: [Double] = []
        while times.count < 8 {
            if driver.runAnswered(until: driver.now.seconds + 0.5).contains(.requestICEServers) {
                times.append(driver.now.seconds)
                errors += driver.feed(.iceServersFailed(failure)).events
            }
        }
        #expect(errors.count == 1)
        guard case .error(let error)? = errors.first else {
            Issue.record("\(errors)")
            return
        }
        #expect(error.code == .refused && error.protocolCode == .iceProviderFailed && error.message.hasPrefix("down"))
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(times[0] < 6 && gaps.allSatisfy { $0 > 9 && $0 < 61 } && gaps[6] > 59)
        // The next failure after a success is told again.
        _ = driver.runAnswered(until: driver.now.seconds + 61)
        driver.feed(.iceServersProvided([own], ttl: .seconds(100)))
        _ = driver.runAnswered(until: driver.now.seconds + 71)
        #expect(driver.feed(.iceServersFailed(failure)).events.count == 1)
    }

    @Test func aFailureKeepsWhatThereIsAndAnAttemptAsksAgain() {
        var driver = makeProvided()
        driver.join(makeJoined())
        _ = driver.runAnswered(until: 71)
        #expect(updated(driver.feed(.iceServersFailed(SignalingFailure("down")))).isEmpty)
        #expect(created(driver.receive(.peerJoined(makeParticipant("z")), sequence: 1)) == [[own]])
        // It was asked only just now.
        driver.feed(.transportClosed(driver.generation, nil))
        #expect(!driver.feed(.reconnectRequested).contains(.requestICEServers))
    }

    @Test func credentialsAgeWhileTheMachineSleeps() {
        var driver = makeProvided()
        driver.join(makeJoined())
        _ = driver.runAnswered(until: 10)
        driver.feed(.woke(after: .seconds(80)))
        #expect(driver.runAnswered(until: 11).contains(.requestICEServers))
    }

    @Test func anAnswerThatNobodyAskedForIsNotTaken() {
        var driver = RoomDriver()
        driver.feed(.started)
        #expect(!driver.all.contains(.requestICEServers))
        driver.feed(.iceServersProvided([own], ttl: nil))
        #expect(created(driver.join(makeJoined(roster: [makeParticipant("z")]))) == [[]])
    }

    private func faults(_ actions: [RoomMachine.Action]) -> [RoomError] {
        let errors = actions.events.compactMap { if case .error(let error) = $0 { error } else { nil } }
        return errors.filter { $0.code == .configuration }
    }

    @Test func whatCannotBeUsedIsLeftOutAndToldOnceAndTheRestIsUsed() {
        var driver = RoomDriver()
        driver.feed(.started)
        let bad = ["http://x", "turn:nocredentials", "", "stun:good", "stun:good", "stun:other?transport=udp"]
        let joined = driver.join(
            makeJoined(roster: [makeParticipant("z")], servers: [.init(urls: bad), .init(urls: [])]))
        #expect(created(joined) == [[ICEServer(urls: ["stun:good", "stun:other?transport=udp"])]])
        #expect(faults(joined).count == 3)
        for url in ["'http://x'", "'turn:nocredentials'", "''"] {
            #expect(faults(joined).contains { $0.protocolCode == .iceServerUnusable && $0.message.contains(url) })
        }
        let again = driver.receive(.iceServers(ICEServerList(servers: [.init(urls: bad)], ttl: .seconds(600))))
        #expect(faults(again).isEmpty)
    }

    @Test func aFloodOfServersIsCutAndCounted() {
        var driver = RoomDriver()
        driver.feed(.started)
        let many = (0..<100).map { "stun:s\($0)" } + (0..<100).map { "http://\($0)" }
        let joined = driver.join(makeJoined(roster: [makeParticipant("z")], servers: [.init(urls: many)]))
        #expect(created(joined).first?.first?.urls.count == 64)
        #expect(faults(joined).count == 17)
        #expect(faults(joined).last == .iceServers(.more(36 + 84)))
    }

    @Test func aListOfWhichNothingIsOfUseIsSaid() {
        func make(_ policy: ICEPolicy, usesTLS: Bool = false, usesServers: Bool = true) -> RoomDriver {
            var configuration = makeConfiguration()
            configuration.ice.policy = policy
            configuration.ice.usesTLS = usesTLS
            configuration.ice.usesServers = usesServers
            configuration.ice.servers = [ICEServer(urls: ["turns:own"], username: "u", credential: "c")]
            var driver = RoomDriver(configuration)
            driver.feed(.started)
            return driver
        }
        var driver = make(.relay)
        #expect(faults(driver.join(makeJoined())) == [.iceServers(.noRelay(urls: "turns:own"))])
        // Now there is one, and now there is none again.
        let relay = ICEServer(urls: ["turn:a"], username: "u", credential: "c")
        #expect(faults(driver.receive(.iceServers(ICEServerList(servers: [relay], ttl: nil)))).isEmpty)
        let stun = ICEServerList(servers: [.init(urls: ["stun:a"])], ttl: nil)
        #expect(faults(driver.receive(.iceServers(stun))) == [.iceServers(.noRelay(urls: "turns:own, stun:a"))])
        #expect(faults(driver.receive(.iceServers(stun))).isEmpty)

        driver = make(.all)
        #expect(faults(driver.join(makeJoined())) == [.iceServers(.nothingUsable(urls: "turns:own"))])
        driver = make(.all)
        #expect(faults(driver.join(makeJoined(servers: [.init(urls: ["stun:a"])]))).isEmpty)
        driver = make(.relay, usesTLS: true)
        #expect(faults(driver.join(makeJoined())).isEmpty)
        driver = make(.relay, usesServers: false)
        #expect(faults(driver.join(makeJoined())).isEmpty)
    }

    @Test func serversOfTheConfigurationComeFirstAndOnce() {
        var configuration = makeConfiguration()
        configuration.ice.servers = [own]
        var driver = RoomDriver(configuration)
        driver.feed(.started)
        let list = [
            ICEServer(urls: ["stun:server"]), .init(urls: own.urls, username: "u", credential: "1"),
        ]
        let joined = driver.join(makeJoined(roster: [makeParticipant("z")], servers: list))
        #expect(created(joined) == [[own, ICEServer(urls: ["stun:server"])]])
    }
}
