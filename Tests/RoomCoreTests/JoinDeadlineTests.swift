import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct JoinDeadlineTests {
    private static func connecting(_ cause: SignalingFailure?) -> SignalingStatus {
        .connecting(attempt: 1, nextAttemptAt: nil, cause: cause)
    }

    private let waiting = JoinDeadlineTests.connecting(.waitingForRoom)
    private let start = Timestamp.zero

    @Test func aServerThatDoesNotAnswerHasSoMuchTime() {
        var deadline = JoinDeadline(within: .seconds(2), now: start)
        let isEarly = deadline.hasPassed(Self.connecting(nil), now: start + .milliseconds(1999))
        let isOver = deadline.hasPassed(Self.connecting(nil), now: start + .seconds(2))
        #expect(deadline.at == start + .seconds(2) && !isEarly && isOver)
    }

    @Test func waitingForTheHostDoesNotCount() {
        var deadline = JoinDeadline(within: .seconds(2), now: start)
        for second in stride(from: 2, to: 100, by: 2) {
            let isOver = deadline.hasPassed(waiting, now: start + .seconds(second))
            #expect(!isOver && deadline.at == start + .seconds(second + 2))
        }
        let isOver = deadline.hasPassed(Self.connecting(nil), now: start + .seconds(100))
        #expect(isOver)
    }
}
