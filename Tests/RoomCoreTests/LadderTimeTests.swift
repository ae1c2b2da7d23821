import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The recovery of a pair whose clock or timers have stood still.
@Suite struct LadderTimeTests {
    @Test func aTimerThatComesAnHourLateLeadsToAProbeFirst() {
        var pair = Pair.connected()
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.now = at(3620)
        let actions = pair.act(.a) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1)
        #expect(actions.restarts == 0)
        pair.timers[.b] = nil
        #expect(pair.run(until: 3620.5)[.a]?.restarts == 1)
    }

    @Test func timersThatFireTwiceOrTooEarlyDoNothing() {
        var pair = Pair.connected()
        #expect(pair.act(.a) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) }.isEmpty)
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        #expect(
            pair.act(.a) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) } == [
                .scheduleTimer(.recovery, at: at(22))
            ])
    }

    @Test func afterASleepAPathIsAskedAndLivesOnWhenItAnswers() {
        var pair = Pair.connected()
        let actions = pair.act(.a) { $0.woke(after: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1)
        #expect(pair.machines[.a]?.status == .connected(nil))
        let incidents = pair.fact(.a, .liveness(.alive)).incidents
        #expect(incidents.isEmpty, "nothing was wrong")
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
    }

    @Test func afterASleepAPathThatDoesNotAnswerIsRestarted() {
        var pair = Pair.connected()
        pair.act(.a) { $0.woke(after: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 20.4)[.a]?.restarts == 0)
        #expect(pair.run(until: 20.5)[.a]?.restarts == 1)
    }

    /// A moment before the sleep ended, each of these was about to be judged by the clock.
    @Test func nothingIsJudgedByTheClockOfASleeper() {
        var watching = Pair.connected()
        watching.fact(.a, .liveness(.suspect(since: at(20))))
        watching.run(until: 21.99)
        #expect(watching.act(.a) { $0.woke(after: .seconds(60), now: $1, using: &$2, &$3) }.probes == 1)
        #expect(watching.run(until: 22.4)[.a]?.restarts == 0)
        #expect(watching.run(until: 22.5)[.a]?.restarts == 1)

        var restarting = Pair.connected()
        restarting.fact(.a, .state(.disconnected))
        restarting.run(until: 22.49)
        #expect(restarting.act(.a) { $0.woke(after: .seconds(60), now: $1, using: &$2, &$3) }.probes == 1)
        #expect(restarting.run(until: 22.9)[.a]?.restarts == 0)
        #expect(restarting.run(until: 23)[.a]?.restarts == 1)

        var connecting = Pair()
        connecting.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        connecting.run(until: 9.99, delivers: false)
        connecting.act(.a) { $0.woke(after: .seconds(60), now: $1, using: &$2, &$3) }
        #expect(connecting.run(until: 14.9, delivers: false)[.a]?.creations == 0)
        #expect(connecting.run(until: 15, delivers: false)[.a]?.creations == 1)
    }
}
