import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// Signaling, seen through the whole machine.
@Suite struct SignalingTests {
    private func makeJoinedDriver(_ roster: [Participant] = []) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: roster))
        return driver
    }

    @Test func itIsConnectedOnlyOnceTheServerHasLetUsIn() {
        var driver = RoomDriver()
        #expect(driver.feed(.started).opened == [1])
        #expect(driver.machine.signalingStatus == .connecting(attempt: 1, nextAttemptAt: nil, cause: nil))
        #expect(driver.feed(.transportConnected(1)).hellos.count == 1)
        #expect(driver.machine.signalingStatus == .connecting(attempt: 1, nextAttemptAt: nil, cause: nil))
        let events = driver.receive(.joined(makeJoined())).events
        #expect(events.first == .signaling(.connected))
    }

    @Test func aFailedAttemptIsRepeatedAfterABackoffWithItsCauseAndTimeInTheStatus() throws {
        var driver = RoomDriver()
        driver.feed(.started)
        let failure = SignalingFailure("refused")
        let actions = driver.feed(.transportFailed(1, failure))
        let until = try #require(driver.timers[.signaling(.attempt)])
        #expect(
            actions.events == [
                .signaling(.disconnected(cause: failure)),
                .signaling(.connecting(attempt: 2, nextAttemptAt: until, cause: failure)),
            ])
        #expect(until <= at(0.1))
        #expect(driver.run(until: 0.1).opened == [2])
    }

    @Test func aNonRetryableFailureEndsAFirstJoinButNotARejoin() {
        let failure = SignalingFailure("not found", isRetryable: false, status: 404)
        var fresh = RoomDriver()
        fresh.feed(.started)
        #expect(fresh.feed(.transportFailed(1, failure)).events.last == .left(.refused(failure)))
        #expect(fresh.machine.isEnded)
        var known = makeJoinedDriver()
        known.feed(.transportClosed(1, nil))
        known.run(until: 1)
        known.feed(.transportFailed(2, failure))
        #expect(!known.machine.isEnded)
        #expect(known.run(until: 3).opened == [3])
    }

    @Test func lateSuccessOfAnAbandonedAttemptIsAborted() {
        var driver = RoomDriver()
        driver.feed(.started)
        #expect(driver.run(until: 11).contains(.abortTransport(1)))
        #expect(driver.generation == 2)
        #expect(driver.feed(.transportConnected(1)) == [.abortTransport(1)])
        // The new attempt is not disturbed, neither by what the old one still says.
        #expect(driver.feed(.received(Envelope(.joined(makeJoined())), 1)).isEmpty)
        #expect(driver.feed(.transportClosed(1, nil)).isEmpty)
        #expect(driver.feed(.transportFailed(1, SignalingFailure("late"))).isEmpty)
        driver.join(makeJoined())
        #expect(driver.machine.signalingStatus == .connected)
    }

    @Test func lateSuccessAfterTheEndIsAborted() {
        var driver = RoomDriver()
        driver.feed(.started)
        #expect(driver.feed(.leaveRequested).contains(.abortTransport(1)))
        #expect(driver.feed(.transportConnected(1)) == [.abortTransport(1)])
    }

    /// The server may take the `hello` that is under way: without a word it would keep the place for the grace period.
    @Test func whoLeavesWhileTheHelloIsUnderWaySaysSoBehindIt() {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.feed(.transportConnected(1))
        let actions = driver.feed(.leaveRequested)
        #expect(actions.sent == [.leave])
        #expect(actions.contains(.closeTransport(1, .normal)))
    }

    @Test func aServerThatDoesNotAnswerTheHelloIsLeft() {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.feed(.transportConnected(1))
        #expect(!driver.run(until: 4.9).contains(.abortTransport(1)))
        #expect(driver.run(until: 5).contains(.abortTransport(1)))
    }

    @Test func silenceIsAnsweredByAPingAndThenByAnAbort() {
        var driver = makeJoinedDriver()
        #expect(driver.run(until: 4.9).sent.isEmpty)
        #expect(driver.run(until: 5).sent == [.ping(id: 1)])
        let actions = driver.run(until: 10)
        #expect(actions.contains(.abortTransport(1)))
        #expect(!actions.contains { if case .closeTransport = $0 { true } else { false } })
        #expect(driver.machine.signalingStatus != .connected)
    }

    @Test func aPeerThatFallsSilentIsAReasonToAskTheServer() throws {
        let other = ParticipantID("z")
        for fact in [.liveness(.suspect(since: at(1))), .state(.disconnected)] as [PeerFact] {
            var driver = makeJoinedDriver([makeParticipant("z")])
            let connection = try #require(driver.connection(to: other))
            driver.feed(.peer(other, connection, .state(.connected)))
            driver.run(until: 1)
            #expect(driver.feed(.peer(other, connection, fact)).sent.contains(.ping(id: 1)))
            // The same silence again does not put the answer off.
            driver.run(until: 2)
            #expect(!driver.feed(.peer(other, connection, fact)).sent.contains(.ping(id: 2)))
            #expect(driver.run(until: 3).contains(.abortTransport(1)))
        }
    }

    @Test func aPeerThatIsHeardAgainIsAReasonToTryTheServerAtOnce() throws {
        let other = ParticipantID("z")
        var driver = makeJoinedDriver([makeParticipant("z")])
        let connection = try #require(driver.connection(to: other))
        driver.feed(.peer(other, connection, .state(.connected)))
        driver.feed(.transportClosed(1, nil))
        driver.feed(.peer(other, connection, .liveness(.suspect(since: driver.now))))
        #expect(driver.generation == 1, "the next attempt waits")
        #expect(driver.feed(.peer(other, connection, .liveness(.alive))).opened == [2])
        // Nobody was missed: no reason.
        driver.feed(.transportFailed(2, SignalingFailure("refused")))
        #expect(driver.feed(.peer(other, connection, .liveness(.alive))).opened.isEmpty)
    }

    @Test func anyMessageIsASignOfLife() {
        var driver = makeJoinedDriver()
        for second in stride(from: 4.0, through: 60, by: 4) {
            #expect(driver.run(until: second).sent.isEmpty)
            driver.receive(.ack(received: 0))
        }
        driver.run(until: 66)
        driver.receive(.pong(id: 1))
        driver.run(until: 70.9)
        #expect(driver.machine.signalingStatus == .connected)
    }

    @Test func aPingOfTheServerIsAnswered() {
        var driver = makeJoinedDriver()
        #expect(driver.receive(.ping(id: 9)).sent == [.pong(id: 9)])
    }

    @Test func aTimerThatComesAnHourLateLeadsToAProbeAndNotToADeath() {
        var driver = makeJoinedDriver()
        driver.run(until: 5)
        driver.now = at(3600)
        let actions = driver.feed(.timerFired(.signaling(.connection(.liveness))))
        #expect(actions.sent == [.ping(id: 2)])
        #expect(driver.machine.signalingStatus == .connected)
        // No answer to the probe either: now it is dead.
        #expect(driver.run(until: 3602).contains(.abortTransport(1)))
    }

    @Test func timersThatFireTwiceTooEarlyOrWithoutReasonDoNothing() {
        var driver = makeJoinedDriver()
        let stale: [RoomMachine.TimerID] = [
            .signaling(.attempt), .signaling(.connection(.acknowledgement)), .session,
            .peer(ParticipantID("x"), .recovery),
            .peer(ParticipantID("x"), .stall),
        ]
        for timer in stale {
            #expect(driver.feed(.timerFired(timer)).isEmpty)
        }
        #expect(
            driver.feed(.timerFired(.signaling(.connection(.liveness)))) == [
                .scheduleTimer(.signaling(.connection(.liveness)), at: at(5))
            ])
        #expect(
            driver.feed(.timerFired(.signaling(.connection(.stability)))) == [
                .scheduleTimer(.signaling(.connection(.stability)), at: at(5))
            ])
        driver.run(until: 5)
        #expect(
            driver.feed(.timerFired(.signaling(.connection(.liveness)))) == [
                .scheduleTimer(.signaling(.connection(.liveness)), at: at(10))
            ])
    }

    @Test func theBackoffStartsAfreshOnlyAfterFiveStableSeconds() {
        var driver = makeJoinedDriver()
        driver.run(until: 1)
        driver.feed(.transportClosed(1, nil))
        guard case .connecting(let attempt, _, _) = driver.machine.signalingStatus else {
            Issue.record("not connecting")
            return
        }
        #expect(attempt == 2)
        driver.run(until: 2)
        driver.join(makeJoined(isResumed: true))
        driver.run(until: 8)
        driver.feed(.transportClosed(driver.generation, nil))
        guard case .connecting(1, _, _) = driver.machine.signalingStatus else {
            Issue.record("the outage goes on: \(driver.machine.signalingStatus)")
            return
        }
    }

    @Test func theServersRetryWindowOverridesTheBackoffAndAReconnectRequestOverridesIt() throws {
        var driver = makeJoinedDriver()
        let window: RetryWindow = .seconds(3) ... .seconds(8)
        let actions = driver.receive(.goingAway(retryAfter: window))
        #expect(actions.contains(.closeTransport(1, .goingAway)))
        let until = try #require(driver.timers[.signaling(.attempt)])
        #expect(until >= at(3) && until <= at(8))
        #expect(driver.feed(.reconnectRequested).opened == [2])
    }

    @Test func aReconnectRequestProbesALivingConnection() {
        var driver = makeJoinedDriver()
        driver.run(until: 1)
        #expect(driver.feed(.reconnectRequested).sent == [.ping(id: 1)])
        #expect(driver.feed(.networkChanged(.init())).sent.isEmpty)
        #expect(driver.run(until: 3).contains(.abortTransport(1)))
    }

    @Test func aConnectionWhoseAddressIsGoneIsReplacedAtOnce() {
        var driver = makeJoinedDriver()
        let here = NetworkChange(addresses: ["192.0.2.1"], signalingAddress: "192.0.2.1")
        #expect(driver.feed(.networkChanged(here)).opened.isEmpty)
        let gone = NetworkChange(addresses: ["192.0.2.2"], signalingAddress: "192.0.2.1")
        let actions = driver.feed(.networkChanged(gone))
        #expect(actions.contains(.abortTransport(1)))
        #expect(actions.opened == [2])
    }

    @Test func somebodyElsesWordThatTheServerIsBackEndsTheWaitOnceASecond() {
        var driver = makeJoinedDriver()
        let word = RoomMachine.Event.peer(ParticipantID("x"), PeerConnectionID("c"), .serverIsBack)
        #expect(driver.feed(word).isEmpty, "we are connected")
        driver.feed(.transportClosed(1, nil))
        #expect(driver.feed(word).opened == [2])
        driver.feed(.transportFailed(2, SignalingFailure("refused")))
        #expect(driver.feed(word).opened.isEmpty, "nobody drives us")
    }

    /// Where only what we send is lost, nobody else can tell us: the server would be asked at the next heartbeat only.
    @Test func whoIsNotHeardAsksTheServerForASignOfLifeOnceASecond() throws {
        var driver = makeJoinedDriver()
        driver.receive(.peerJoined(makeParticipant("z")), sequence: 1)
        driver.run(until: 1)
        let connection = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), connection, .state(.connected)))
        func pings(_ actions: [RoomMachine.Action]) -> Int {
            actions.sent.count { if case .ping = $0 { true } else { false } }
        }
        #expect(pings(driver.feed(.peer(ParticipantID("z"), PeerConnectionID("old"), .unheard))) == 0)
        #expect(pings(driver.feed(.peer(ParticipantID("z"), connection, .unheard))) == 1)
        #expect(driver.feed(.peer(ParticipantID("z"), connection, .unheard)).isEmpty, "nobody drives us")
        #expect(driver.run(until: 3.1).contains(.abortTransport(1)), "no answer came")
    }

    @Test func whoHearsNothingOfAParticipantTellsHim() throws {
        var driver = makeJoinedDriver()
        driver.receive(.peerJoined(makeParticipant("z")), sequence: 1)
        let connection = try #require(driver.connection(to: ParticipantID("z")))
        driver.feed(.peer(ParticipantID("z"), connection, .state(.connected)))
        let actions = driver.feed(.peer(ParticipantID("z"), connection, .liveness(.suspect(since: driver.now))))
        #expect(actions.contains(.peer(ParticipantID("z"), connection, .sendHint(.unheard))))
    }

    @Test func duplicatesAreDroppedAndAcknowledged() {
        var driver = makeJoinedDriver()
        let message = ServerMessage.peerJoined(makeParticipant("a"))
        #expect(driver.receive(message, sequence: 1).events.contains(.peerJoined(makeParticipant("a"))))
        #expect(driver.receive(message, sequence: 1).events.isEmpty)
        #expect(driver.run(until: 0.2).sent == [.ack(received: 1)])
        #expect(driver.run(until: 1).sent.isEmpty)
    }

    @Test func acknowledgementsTravelWithOtherMessagesAndComeAtOnceAfterSixteen() {
        var driver = makeJoinedDriver()
        driver.receive(.peerChanged(makeParticipant("z")), sequence: 1)
        let envelopes = driver.receive(.ping(id: 4)).envelopes
        #expect(envelopes == [Envelope(ack: 1, .pong(id: 4))])
        #expect(driver.run(until: 0.3).sent.isEmpty)
        var sent: [ClientMessage] = []
        for number in 2...17 {
            sent +=
                driver.receive(
                    .hostChanged(ParticipantID("z"), term: 1, sessionToken: "token-h"), sequence: SequenceNumber(number)
                ).sent
        }
        #expect(sent == [.ack(received: 17)])
    }

    @Test func aGapLeadsToARejoin() throws {
        var driver = makeJoinedDriver()
        driver.receive(.peerChanged(makeParticipant("z")), sequence: 1)
        #expect(driver.receive(.peerChanged(makeParticipant("z")), sequence: 3).contains(.abortTransport(1)))
        driver.run(until: 1)
        let hello = try #require(driver.feed(.transportConnected(2)).hellos.first)
        #expect(hello.resume == Resume(sessionToken: "token-1", received: 1, mustRejoin: true, attempt: 2))
    }

    @Test func whatTheServerCannotHaveGotLeadsToARejoin() throws {
        var driver = makeJoinedDriver()
        #expect(driver.receive(.ack(received: 5)).contains(.abortTransport(1)))
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.mustRejoin == true)
    }

    @Test func whatWasWrittenIntoAHalfOpenConnectionIsSentAgain() {
        var driver = makeJoinedDriver([makeParticipant("z")])
        let kick = ClientMessage.kick(ParticipantID("z"), reason: "r")
        #expect(driver.feed(.kickRequested(ParticipantID("z"), reason: "r")).envelopes == [Envelope(sequence: 1, kick)])
        driver.run(until: 12)
        let again = driver.join(makeJoined(isResumed: true, received: 0, roster: [makeParticipant("z")])).envelopes
            .dropFirst()
        #expect(Array(again) == [Envelope(sequence: 1, kick)])
        driver.receive(.ack(received: 1))
        driver.feed(.transportClosed(driver.generation, nil))
        driver.run(until: 14)
        #expect(
            driver.join(makeJoined(isResumed: true, received: 1, roster: [makeParticipant("z")])).envelopes.count == 1)
    }

    @Test func aKickSurvivesARejoinUnderANewNumber() {
        var driver = makeJoinedDriver([makeParticipant("z")])
        driver.feed(.metadataUpdated(["a": "b"]))
        driver.feed(.kickRequested(ParticipantID("z"), reason: "r"))
        driver.receive(.ack(received: 1))
        driver.feed(.transportClosed(1, nil))
        driver.run(until: 1)
        let envelopes = driver.join(makeJoined(epoch: 2, roster: [makeParticipant("z")])).envelopes
        #expect(
            envelopes.dropFirst().first
                == Envelope(sequence: 1, .kick(ParticipantID("z"), reason: "r")))
    }

    @Test func anUnknownMessageIsCountedAndPassedOver() {
        var driver = makeJoinedDriver()
        var error = makeError(.unknownType, isFatal: false)
        error.sequence = 1
        driver.feed(.receivedMalformed(error, 1))
        #expect(
            driver.receive(.peerJoined(makeParticipant("a")), sequence: 2).events.contains(
                .peerJoined(makeParticipant("a"))))
        #expect(driver.feed(.receivedMalformed(makeError(.malformed), 1)).contains(.abortTransport(1)))
    }

    @Test func anOverflowingQueueIsGivenUpAndLeadsToARejoin() {
        var configuration = makeConfiguration()
        configuration.signaling.queueLimit = 4
        var driver = RoomDriver(configuration)
        driver.feed(.started)
        driver.join(makeJoined())
        driver.feed(.transportClosed(1, nil))
        for number in 0..<5 { driver.feed(.metadataUpdated(["n": "\(number)"])) }
        let errors = driver.all.events.compactMap { if case .error(let error) = $0 { error } else { nil } }
        #expect(errors.map(\.protocolCode) == [.queueOverflow])
        #expect(driver.machine.queuedMessages <= 4)
        driver.run(until: 1)
        #expect(driver.feed(.transportConnected(2)).hellos.first?.resume?.mustRejoin == true)
    }
}
