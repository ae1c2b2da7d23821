import RoomProtocol
import Testing
import TransportPluginAPI

@testable import RoomCore

@Suite struct CredentialTests {
    private func makeDriver() -> RoomDriver { RoomDriver(makeConfiguration(hasCredentialProvider: true)) }

    @Test func aMissingCredentialIsFetchedBeforeTheFirstAttempt() {
        var driver = makeDriver()
        let actions = driver.feed(.started)
        #expect(actions.contains(.requestCredential(forced: false)))
        #expect(actions.opened.isEmpty)
        #expect(driver.feed(.credentialReady(token: "t", expiresAt: nil)).opened == [1])
        #expect(driver.feed(.transportConnected(1)).hellos.first?.token == "t")
    }

    @Test func aCredentialNearItsExpiryIsFetchedAgainAndOneThatIsGoodIsNot() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: "t", expiresAt: at(100)))
        driver.join(makeJoined())
        driver.run(until: 10)
        driver.feed(.transportClosed(1, nil))
        #expect(driver.run(until: 11).opened == [2])
        driver.join(makeJoined(isResumed: true))
        driver.now = at(75)
        driver.feed(.transportClosed(2, nil))
        let actions = driver.run(until: 76)
        #expect(actions.contains(.requestCredential(forced: false)))
    }

    @Test(arguments: [ProtocolError.Code.unauthorized, .tokenExpired])
    func aRefusedCredentialIsRefreshedByForceOnceAndThenTheRoomEnds(code: ProtocolError.Code) {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: "old", expiresAt: nil))
        driver.feed(.transportConnected(1))
        let actions = driver.receive(.error(makeError(code)))
        #expect(actions.contains(.requestCredential(forced: true)))
        driver.feed(.credentialReady(token: "new", expiresAt: nil))
        #expect(driver.feed(.transportConnected(2)).hellos.first?.token == "new")
        let error = makeError(code)
        #expect(driver.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
    }

    @Test func aRefusalByHTTPIsTreatedAlike() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: "old", expiresAt: nil))
        let failure = SignalingFailure("401", isRetryable: false, status: 401)
        #expect(driver.feed(.transportFailed(1, failure)).contains(.requestCredential(forced: true)))
        driver.feed(.credentialReady(token: "new", expiresAt: nil))
        #expect(driver.feed(.transportFailed(2, failure)).events.last == .left(.refused(failure)))
    }

    @Test func theForcedRefreshIsThereAgainAfterTheServerHasLetUsIn() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: "a", expiresAt: nil))
        for round in 0..<3 {
            driver.feed(.transportConnected(driver.generation))
            #expect(driver.receive(.error(makeError(.tokenExpired))).contains(.requestCredential(forced: true)))
            driver.feed(.credentialReady(token: "b\(round)", expiresAt: nil))
            driver.join(makeJoined(isResumed: round > 0))
            driver.feed(.transportClosed(driver.generation, nil))
            driver.run(until: Double(round + 1) * 5)
        }
    }

    @Test func aForcedRefreshThatFailsForNowIsAskedForAgainByForce() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: "old", expiresAt: nil))
        let failure = SignalingFailure("401", isRetryable: false, status: 401)
        #expect(driver.feed(.transportFailed(1, failure)).contains(.requestCredential(forced: true)))
        driver.feed(.credentialFailed(SignalingFailure("later")))
        #expect(driver.run(until: 1).contains(.requestCredential(forced: true)))
        #expect(driver.feed(.credentialReady(token: "new", expiresAt: nil)).opened == [2])
    }

    @Test func aCredentialThatExpiresDuringALongOutageIsRefreshedByForceAgain() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: "a", expiresAt: nil))
        let failure = SignalingFailure("401", isRetryable: false, status: 401)
        driver.feed(.transportFailed(1, failure))
        driver.feed(.credentialReady(token: "b", expiresAt: nil))
        driver.feed(.transportFailed(2, SignalingFailure("refused")))
        driver.now = at(3600)
        driver.run(until: 3601)
        #expect(driver.feed(.transportFailed(3, failure)).contains(.requestCredential(forced: true)))
    }

    @Test func aProviderThatFailsForNowIsAskedAgainAndOneThatFailsForGoodEndsTheRoom() {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialFailed(SignalingFailure("later")))
        #expect(driver.run(until: 1).contains(.requestCredential(forced: false)))
        let failure = SignalingFailure("revoked", isRetryable: false)
        #expect(driver.feed(.credentialFailed(failure)).events.last == .left(.credentialFailed(failure)))
    }

    @Test func aServerThatLostItsKeyIsJoinedAnewAsSomebodyNew() throws {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined("m", roster: [makeParticipant("z")]))
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume != nil)
        driver.receive(.error(makeError(.unauthorized)))
        #expect(!driver.machine.isEnded)
        driver.run(until: 3)
        let hello = try #require(driver.feed(.transportConnected(3)).hellos.first)
        #expect(hello.resume == nil)
        let events = driver.receive(.joined(makeJoined("n", roster: [makeParticipant("z")]))).events
        #expect(events.contains(.peerLeft(makeParticipant("z"), reason: .left)))
        #expect(events.contains(.peerJoined(makeParticipant("z"))))
    }
}
