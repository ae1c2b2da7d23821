import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct CredentialTests {
    private func makeDriver() -> RoomDriver { RoomDriver(makeConfiguration(hasCredentialProvider: true)) }

    /// A started room that has this token.
    private func makeStarted(token: String, expiresAt: Timestamp?) -> RoomDriver {
        var driver = makeDriver()
        driver.feed(.started)
        driver.feed(.credentialReady(token: token, expiresAt: expiresAt))
        return driver
    }

    /// A room that was joined with this token.
    private func makeJoinedDriver(token: String, expiresAt: Timestamp?) -> RoomDriver {
        var driver = makeStarted(token: token, expiresAt: expiresAt)
        driver.join(makeJoined())
        return driver
    }

    @Test func aMissingCredentialIsFetchedBeforeTheFirstAttempt() {
        var driver = makeDriver()
        let actions = driver.feed(.started)
        #expect(actions.contains(.requestCredential(forced: false)))
        #expect(actions.opened.isEmpty)
        #expect(driver.feed(.credentialReady(token: "t", expiresAt: nil)).opened == [1])
        #expect(driver.feed(.transportConnected(1)).hellos.first?.token == "t")
    }

    @Test func aCredentialNearItsExpiryIsFetchedAgainAndOneThatIsGoodIsNot() {
        var driver = makeJoinedDriver(token: "t", expiresAt: at(100))
        driver.run(until: 10)
        driver.feed(.transportClosed(1, nil))
        #expect(driver.run(until: 11).opened == [2])
        driver.join(makeJoined(isResumed: true))
        driver.now = at(75)
        driver.feed(.transportClosed(2, nil))
        let actions = driver.run(until: 76)
        #expect(actions.contains(.requestCredential(forced: false)))
    }

    @Test func aCredentialThatNeverLivesLongIsFetchedBeforeEachAttemptAndUsed() {
        var driver = makeDriver()
        driver.feed(.started)
        #expect(driver.feed(.credentialReady(token: "a", expiresAt: at(5))).opened == [1])
        driver.join(makeJoined())
        driver.feed(.transportClosed(1, nil))
        #expect(driver.run(until: 1).contains(.requestCredential(forced: false)))
        #expect(driver.feed(.credentialReady(token: "b", expiresAt: at(6))).opened == [2])
        #expect(driver.feed(.transportConnected(2)).hellos.first?.token == "b")
    }

    @Test func whoWasInTheRoomIsNotKeptOutsideByAProviderThatIsBrokenOrSlow() {
        var driver = makeJoinedDriver(token: "a", expiresAt: at(5))
        driver.feed(.transportClosed(1, nil))
        #expect(driver.run(until: 1).contains(.requestCredential(forced: false)))
        #expect(driver.feed(.credentialFailed(SignalingFailure("down"))).opened == [2])
        #expect(driver.feed(.transportConnected(2)).hellos.first?.token == "a")
        driver.receive(.joined(makeJoined(isResumed: true)))
        driver.now = at(10)
        driver.feed(.transportClosed(2, nil))
        let asked = driver.run(until: 11.1)
        #expect(asked.contains(.requestCredential(forced: false)) && asked.opened.isEmpty)
        #expect(driver.run(until: 13.2).opened == [3])
        // Late, and in time for the hello.
        driver.feed(.credentialReady(token: "b", expiresAt: nil))
        #expect(driver.feed(.transportConnected(3)).hellos.first?.token == "b")
    }

    @Test func aRefusedCredentialIsRefreshedByForceOnceAndThenTheRoomEnds() {
        var driver = makeStarted(token: "old", expiresAt: nil)
        driver.feed(.transportConnected(1))
        let error = makeError(.unauthorized)
        let actions = driver.receive(.error(error))
        #expect(actions.contains(.requestCredential(forced: true)))
        driver.feed(.credentialReady(token: "new", expiresAt: nil))
        #expect(driver.feed(.transportConnected(2)).hellos.first?.token == "new")
        #expect(driver.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
    }

    /// The first time at once, then behind a backoff.
    @Test func anExpiredCredentialIsReplacedForAsLongAsTheProviderHasANewOne() {
        var driver = makeStarted(token: "0", expiresAt: nil)
        let error = makeError(.tokenExpired)
        for round in 1...50 {
            driver.feed(.transportConnected(driver.generation))
            var actions = driver.receive(.error(error))
            #expect(actions.contains(.requestCredential(forced: true)) == (round == 1))
            if round > 1 { actions = driver.run(until: driver.now.seconds + 10) }
            #expect(actions.contains(.requestCredential(forced: true)))
            driver.feed(.credentialReady(token: "\(round)", expiresAt: nil))
        }
        driver.feed(.transportConnected(driver.generation))
        driver.receive(.error(error))
        driver.run(until: driver.now.seconds + 10)
        // Nothing better is to be had.
        driver.feed(.credentialReady(token: "50", expiresAt: nil))
        driver.feed(.transportConnected(driver.generation))
        #expect(driver.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
    }

    @Test func anExpiredCredentialThatIsFollowedByOneThatIsRefusedEndsTheRoom() {
        var driver = makeStarted(token: "old", expiresAt: nil)
        driver.feed(.transportConnected(1))
        driver.receive(.error(makeError(.tokenExpired)))
        driver.feed(.credentialReady(token: "new", expiresAt: nil))
        driver.feed(.transportConnected(2))
        let error = makeError(.unauthorized)
        #expect(driver.receive(.error(error)).events.last == .left(.refused(SignalingFailure(error))))
    }

    @Test func a403EndsAFirstJoinAndIsOutlivedByWhoWasInTheRoom() {
        let forbidden = SignalingFailure("403", isRetryable: false, status: 403)
        var fresh = RoomDriver()
        fresh.feed(.started)
        #expect(fresh.feed(.transportFailed(1, forbidden)).events.last == .left(.refused(forbidden)))
        var known = RoomDriver()
        known.feed(.started)
        known.join(makeJoined())
        known.feed(.transportClosed(1, nil))
        for _ in 1...5 {
            known.run(until: known.now.seconds + 10)
            known.feed(.transportFailed(known.generation, forbidden))
            #expect(!known.machine.isEnded)
        }
        known.run(until: known.now.seconds + 10)
        #expect(!known.join(makeJoined(isResumed: true)).events.isEmpty)
        // A 401 asks for another credential, and there is none.
        known.feed(.transportClosed(known.generation, nil))
        known.run(until: known.now.seconds + 10)
        let unauthorized = SignalingFailure("401", isRetryable: false, status: 401)
        #expect(
            known.feed(.transportFailed(known.generation, unauthorized)).events.last == .left(.refused(unauthorized)))
    }

    @Test func aRefusalByHTTPIsTreatedAlike() {
        var driver = makeStarted(token: "old", expiresAt: nil)
        let failure = SignalingFailure("401", isRetryable: false, status: 401)
        #expect(driver.feed(.transportFailed(1, failure)).contains(.requestCredential(forced: true)))
        driver.feed(.credentialReady(token: "new", expiresAt: nil))
        #expect(driver.feed(.transportFailed(2, failure)).events.last == .left(.refused(failure)))
    }

    @Test func theForcedRefreshIsThereAgainAfterTheServerHasLetUsIn() {
        var driver = makeStarted(token: "a", expiresAt: nil)
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
        var driver = makeStarted(token: "old", expiresAt: nil)
        let failure = SignalingFailure("401", isRetryable: false, status: 401)
        #expect(driver.feed(.transportFailed(1, failure)).contains(.requestCredential(forced: true)))
        driver.feed(.credentialFailed(SignalingFailure("later")))
        #expect(driver.run(until: 1).contains(.requestCredential(forced: true)))
        #expect(driver.feed(.credentialReady(token: "new", expiresAt: nil)).opened == [2])
    }

    @Test func aCredentialThatExpiresDuringALongOutageIsRefreshedByForceAgain() {
        var driver = makeStarted(token: "a", expiresAt: nil)
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
