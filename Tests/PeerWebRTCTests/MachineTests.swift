internal import CUsrsctp
internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Open messages (RFC 8832).
struct DCEPTests {
    @Test(arguments: [
        ChannelParameters(label: ""), ChannelParameters(label: "x", protocol: "y"),
        ChannelParameters(label: "ü", isOrdered: false, reliability: .retransmissions(3)),
        ChannelParameters(label: "t", reliability: .lifetime(milliseconds: 65_535)),
        ChannelParameters(
            label: String(repeating: "l", count: 65_535), protocol: String(repeating: "p", count: 65_535)),
    ])
    func whatIsWrittenIsWhatIsRead(parameters: ChannelParameters) throws {
        let bytes = DCEP.encode(.open(parameters))
        #expect(try bytes.withUnsafeBytes { try DCEP.decode($0) } == .open(parameters))
    }

    @Test func bytesAreThoseOfTheRFC() throws {
        let parameters = ChannelParameters(
            label: "ab", protocol: "c", isOrdered: false, reliability: .retransmissions(258))
        #expect(DCEP.encode(.open(parameters)) == [3, 0x81, 1, 0, 0, 0, 1, 2, 0, 2, 0, 1, 97, 98, 99])
        #expect(DCEP.encode(.acknowledge) == [2])
        #expect(try [UInt8(2)].withUnsafeBytes { try DCEP.decode($0) } == .acknowledge)
        // More than an API can say is the most it can say.
        let forever: [UInt8] = [3, 2, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]
        let parsed = try forever.withUnsafeBytes { try DCEP.decode($0) }
        #expect(parsed == .open(ChannelParameters(label: "", reliability: .lifetime(milliseconds: 65_535))))
    }

    @Test(
        arguments: [
            [], [9], [3], [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xFF], [3, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0],
        ] as [[UInt8]])
    func malformedMessagesAreRefused(bytes: [UInt8]) {
        expect(.protocolViolation) { _ = try bytes.withUnsafeBytes { try DCEP.decode($0) } }
    }
}

/// When to ask, and when to worry.
struct LivenessTests {
    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(nanoseconds: milliseconds * 1_000_000) }

    /// Runs the timer until `end`; returns what it did, with times in ms.
    private func run(
        _ machine: inout LivenessMachine, until end: Int64, unacknowledged: Bool, roundTrip: Duration? = nil
    ) -> [(Int64, LivenessMachine.Action)] {
        var log: [(Int64, LivenessMachine.Action)] = []
        while machine.deadline <= at(end) {
            let now = machine.deadline
            for action in machine.timerFired(at: now, hasUnacknowledgedData: unacknowledged, roundTrip: roundTrip) {
                log.append((now.nanoseconds / 1_000_000, action))
            }
            #expect(machine.deadline > now)
        }
        return log
    }

    @Test func idlePeersThatAnswerAreAskedTogether() {
        var machine = LivenessMachine(at: at(0))
        var probes: [Int64] = []
        while machine.deadline <= at(11_000) {
            let now = machine.deadline
            for action in machine.timerFired(at: now, hasUnacknowledgedData: false, roundTrip: nil) {
                #expect(action == .probe)
                probes.append(now.nanoseconds / 1_000_000)
                #expect(machine.evidenceReceived(at: now + .milliseconds(1)) == nil)
            }
        }
        #expect(probes == [2500, 5000, 7500, 10_000])
        #expect(!machine.isSuspect)
        #expect(LivenessMachine(at: at(400)).deadline == at(2500), "of another connection")
        #expect(LivenessMachine(at: at(600)).deadline == at(3000))
    }

    @Test func silenceWithDataOutstandingIsProbedAndReportedOnce() {
        var machine = LivenessMachine(at: at(0))
        machine.dataSent(at: at(1000))
        let log = run(&machine, until: 2500, unacknowledged: true)
        // Four a second until it is suspect, then ten.
        let probes: [Int64] = [1250, 1500, 1750, 1850, 1950, 2050, 2150, 2250, 2350, 2450]
        #expect(log.filter { $0.1 == .probe }.map(\.0) == probes)
        #expect(log.filter { $0.1 != .probe }.map(\.0) == [1750])
        #expect(log.filter { $0.1 != .probe }.map(\.1) == [.reportSuspect(since: at(1000))])
        #expect(machine.evidenceReceived(at: at(2600)) == .reportAlive)
        #expect(machine.evidenceReceived(at: at(2601)) == nil)
    }

    @Test func unansweredProbeOfAnIdlePeerIsSilenceToo() {
        var machine = LivenessMachine(at: at(0))
        let log = run(&machine, until: 4000, unacknowledged: false)
        #expect(log.first?.0 == 2500)
        #expect(log.first { $0.1 != .probe }?.0 == 3250)
        #expect(log.first { $0.1 != .probe }?.1 == .reportSuspect(since: at(2500)))
    }

    @Test func afterThirtySecondsProbesAreLimitedAndThenRare() {
        var machine = LivenessMachine(at: at(0))
        machine.dataSent(at: at(0))
        let log = run(&machine, until: 45_000, unacknowledged: true).filter { $0.1 == .probe }.map(\.0)
        let early = log.filter { $0 >= 1000 && $0 < 30_000 }
        #expect(zip(early, early.dropFirst()).allSatisfy { $1 - $0 == 100 })
        let late = log.filter { $0 > 30_000 }
        #expect(late.count == 60)
        #expect(zip(late, late.dropFirst()).allSatisfy { $1 - $0 == 250 })
        let hours = run(&machine, until: 36_000_000, unacknowledged: true).filter { $0.1 == .probe }.map(\.0)
        let pauses = zip(hours, hours.dropFirst()).map { (at: $0, length: $1 - $0) }
        #expect(pauses.allSatisfy { abs($0.length - min(max(250, $0.at / 1000), 5000)) <= 1 })
        #expect(pauses.last?.length == 5000)
    }

    @Test func bulkDataWithAcknowledgementsRaisesNoAlarm() {
        var machine = LivenessMachine(at: at(0))
        machine.dataSent(at: at(0))
        for time in stride(from: Int64(5), to: 10_000, by: 5) {
            #expect(machine.evidenceReceived(at: at(time)) == nil)
            while machine.deadline <= at(time) {
                #expect(machine.timerFired(at: at(time), hasUnacknowledgedData: true, roundTrip: nil).isEmpty)
            }
        }
    }

    @Test func longRoundTripsAreNoSilence() {
        var machine = LivenessMachine(at: at(0))
        machine.dataSent(at: at(0))
        let log = run(&machine, until: 1700, unacknowledged: true, roundTrip: .milliseconds(600))
        #expect(log.allSatisfy { $0.1 == .probe })
        #expect(
            !run(&machine, until: 1800, unacknowledged: true, roundTrip: .milliseconds(600)).allSatisfy {
                $0.1 == .probe
            })
    }

    @Test func lateTimerJudgesNothingUntilInputWasRead() {
        var machine = LivenessMachine(at: at(0))
        machine.dataSent(at: at(0))
        #expect(machine.timerFired(at: at(3000), hasUnacknowledgedData: true, roundTrip: nil).isEmpty)
        #expect(machine.deadline == at(3020))
        #expect(machine.timerFired(at: at(3020), hasUnacknowledgedData: true, roundTrip: nil) == [.probe])
        let log = run(&machine, until: 5000, unacknowledged: true)
        #expect(log.first { $0.1 != .probe }?.0 == 3750, "the silence counts from when this side could listen again")
    }

    @Test func aSideThatIsAlwaysLateJudgesNevertheless() {
        var machine = LivenessMachine(at: at(0))
        machine.dataSent(at: at(0))
        var log: [(Int64, LivenessMachine.Action)] = []
        while machine.deadline < at(5000) {
            let now = machine.deadline + .milliseconds(150)
            for action in machine.timerFired(at: now, hasUnacknowledgedData: true, roundTrip: nil) {
                log.append((now.nanoseconds / 1_000_000, action))
            }
        }
        #expect(log.first?.1 == .probe)
        let suspected = log.first { $0.1 != .probe }
        #expect(log.count { $0.0 < suspected?.0 ?? 0 } >= 2, "it has had two chances to answer")
        #expect(suspected.map { $0.0 < 2000 } == true, "\(log)")
        #expect(machine.isSuspect)
        // An answer gives it all its graces back.
        #expect(machine.evidenceReceived(at: at(6000)) == .reportAlive)
        machine.dataSent(at: at(6000))
        #expect(machine.timerFired(at: at(9000), hasUnacknowledgedData: true, roundTrip: nil).isEmpty)
    }

    /// Stopped and continued, again and again: what comes while it is stopped is read after each.
    @Test func aSideThatStandsStillOftenSuspectsNobodyWhoAnswers() {
        var machine = LivenessMachine(at: at(0))
        var now: Int64 = 0
        for _ in 0..<20 {
            machine.dataSent(at: at(now))
            now += 3000
            #expect(machine.timerFired(at: at(now), hasUnacknowledgedData: true, roundTrip: nil).isEmpty)
            #expect(machine.evidenceReceived(at: at(now + 1)) == nil)
            _ = machine.timerFired(at: at(now + 20), hasUnacknowledgedData: false, roundTrip: nil)
            #expect(!machine.isSuspect)
        }
    }

    @Test func probeOnDemandGoesOutAtOnce() {
        var machine = LivenessMachine(at: at(0))
        #expect(machine.probeRequested(at: at(100)) == .probe)
        let log = run(&machine, until: 1000, unacknowledged: false)
        #expect(log.first?.0 == 350)
        #expect(log.contains { $0.1 == .reportSuspect(since: at(100)) })
    }
}

/// How long usrsctp waits between retransmissions.
struct TimeoutLimitTests {
    @Test func limitIsAtLeastASecondWhileThePeerAnswers() {
        #expect(SCTPAssociation.timeoutLimit(silence: nil, roundTrip: 0) == 1000)
        #expect(SCTPAssociation.timeoutLimit(silence: nil, roundTrip: 400) == 1600)
        #expect(SCTPAssociation.timeoutLimit(silence: nil, roundTrip: .max) == 60_000)
    }

    @Test func silenceShortensItForAWhile() {
        #expect(SCTPAssociation.timeoutLimit(silence: .zero, roundTrip: 0) == 100)
        #expect(SCTPAssociation.timeoutLimit(silence: .seconds(100), roundTrip: 0) == 100)
        #expect(SCTPAssociation.timeoutLimit(silence: .zero, roundTrip: 80) == 160)
        #expect(SCTPAssociation.timeoutLimit(silence: .zero, roundTrip: 5000) == 1000)
        #expect(SCTPAssociation.timeoutLimit(silence: .seconds(3600), roundTrip: 0) == 3600)
        #expect(SCTPAssociation.timeoutLimit(silence: .seconds(3600 * 24 * 365), roundTrip: .max) == 60_000)
    }

    /// usrsctp counts timeouts in 16 bits, and ends the association when there are more.
    @Test func aMonthOfSilenceDoesNotEndAnAssociation() {
        var silence = Duration.zero
        var timeouts = 0
        while silence < .seconds(3600 * 24 * 30) {
            silence += .milliseconds(Int64(SCTPAssociation.timeoutLimit(silence: silence, roundTrip: 0)))
            timeouts += 1
        }
        #expect(timeouts < 0xFFFF, "\(timeouts)")
    }
}

/// Candidates and their generations.
struct RemoteCandidatesTests {
    @Test func candidateOfAKnownGenerationGoesThere() {
        var candidates = RemoteCandidates()
        #expect(candidates.began("aaaa").isEmpty)
        #expect(candidates.route(.candidate("1"), fragment: "aaaa") == "aaaa")
        #expect(candidates.route(.candidate("2"), fragment: nil) == "aaaa")
        _ = candidates.began("bbbb")
        #expect(candidates.route(.candidate("3"), fragment: nil) == "bbbb")
        #expect(candidates.route(.candidate("4"), fragment: "aaaa") == "aaaa")
    }

    @Test func earlyOnesWaitAndOldOnesAreDropped() {
        var candidates = RemoteCandidates()
        #expect(candidates.route(.candidate("1"), fragment: "bbbb") == nil)
        #expect(candidates.route(.candidate("2"), fragment: nil) == nil)
        #expect(candidates.route(.end, fragment: "bbbb") == nil)
        #expect(candidates.route(.candidate("3"), fragment: "cccc") == nil)
        #expect(candidates.began("bbbb") == [.candidate("1"), .candidate("2"), .end])
        #expect(candidates.waitingCount == 1)
        candidates.ended("bbbb")
        #expect(candidates.route(.candidate("4"), fragment: "bbbb") == nil)
        #expect(candidates.waitingCount == 1)
        #expect(candidates.began("cccc") == [.candidate("3")])
    }

    @Test func noMoreThanSixtyFourWait() {
        var candidates = RemoteCandidates()
        for index in 0..<100 { #expect(candidates.route(.candidate("\(index)"), fragment: "x") == nil) }
        #expect(candidates.waitingCount == 64)
        #expect(candidates.began("x").first == .candidate("36"))
    }
}

struct SendLedgerTests {
    @Test func messagesAreReleasedInOrderAsTheBufferShrinks() {
        var ledger = SendLedger()
        for index in 0..<200 { ledger.sent(10, slot: index) }
        #expect(ledger.byteCount == 2000 && ledger.messageCount == 200)
        #expect(ledger.release(remaining: 2000) == nil)
        #expect(ledger.release(remaining: 1995) == nil)
        #expect(ledger.release(remaining: 1985) == SendLedger.Entry(slot: 0, count: 10))
        #expect(ledger.release(remaining: 1985) == nil)
        for index in 1..<200 { #expect(ledger.release(remaining: 0)?.slot == Int32(index)) }
        #expect(ledger.release(remaining: 0) == nil)
        #expect(ledger.byteCount == 0)
    }

    @Test func ledgerGrowsAndWrapsAround() {
        var ledger = SendLedger()
        var next = 0
        for round in 0..<500 {
            ledger.sent(1, slot: 2 * round)
            ledger.sent(1, slot: 2 * round + 1)
            #expect(ledger.release(remaining: 0)?.slot == Int32(next))
            next += 1
        }
        #expect(ledger.messageCount == 500)
    }
}

struct ChannelTableTests {
    @Test func idsFollowTheRoleAndAreUsedAgainWhenNoneIsUnused() throws {
        var table = ChannelTable(streamCount: 1024)
        let fixed = try table.open(ChannelParameters(label: "fixed", negotiatedID: 1))
        let first = try table.open(ChannelParameters(label: "a"))
        #expect(table[first].stream == nil)
        #expect(table.rolesSettled(isClient: false).isEmpty)
        #expect(table[first].stream == 3)
        let second = try table.open(ChannelParameters(label: "b"))
        #expect(table[second].stream == 5)
        let id = table[first].id
        table.remove(first)
        #expect(table.slot(of: id) == nil && table.slot(ofStream: 3) == nil)
        let third = try table.open(ChannelParameters(label: "c"))
        #expect(table[third].stream == 7 && table[third].id != id)
        var streams: [UInt16] = []
        while let slot = try? table.open(ChannelParameters(label: "d")) { streams.append(table[slot].stream ?? 0) }
        #expect(streams.count == 509 && streams.last == 3)
        #expect(table.slot(of: table[fixed].id) == fixed)
        expect(.resourceExhausted) { _ = try table.open(ChannelParameters(label: "d", negotiatedID: 5)) }
        expect(.resourceExhausted) { _ = try table.open(ChannelParameters(label: "d", negotiatedID: 1024)) }
    }

    @Test func channelsAreLimitedAndTheOthersIDsAreNotTaken() throws {
        var table = ChannelTable(streamCount: 1024)
        _ = table.rolesSettled(isClient: true)
        #expect(table.opened(ChannelParameters(label: "x"), stream: 4) != nil)
        #expect(table.opened(ChannelParameters(label: "x"), stream: 4) == nil)
        #expect(table.opened(ChannelParameters(label: "x"), stream: 60_000) == nil)
        for _ in 0..<511 { _ = try table.open(ChannelParameters(label: "y")) }
        expect(.resourceExhausted) { _ = try table.open(ChannelParameters(label: "y")) }
    }
}

struct ChecksumTests {
    @Test(arguments: [12, 13, 28, 1188, 1500]) func checksumIsUsrsctps(count: Int) {
        var packet = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for index in 8..<12 { packet[index] = 0 }
        var expected = packet
        let sum = packet.withUnsafeMutableBytes { usrsctp_crc32c($0.baseAddress, count) }
        withUnsafeBytes(of: sum) { for index in 0..<4 { expected[8 + index] = $0[index] } }
        var table = [UInt32](repeating: 0, count: 256)
        CUsrsctp_make_crc_table(&table)
        var slow = packet
        slow.withUnsafeMutableBytes { CUsrsctp_fill_checksum($0.baseAddress, count, table) }
        #expect(slow == expected)
        guard CUsrsctp_has_crc_instruction() != 0 else { return }
        packet.withUnsafeMutableBytes { CUsrsctp_fill_checksum($0.baseAddress, count, nil) }
        #expect(packet == expected)
    }
}
