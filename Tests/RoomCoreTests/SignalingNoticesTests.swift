import RoomValues
import Testing
import TransportValues

@testable import RoomCore

@Suite struct SignalingNoticesTests {
    private static let refused = SignalingFailure("connection refused")

    private func news(_ statuses: SignalingStatus...) -> [SignalingNotices.Notice] {
        var notices = SignalingNotices()
        return statuses.compactMap { notices.take($0) }
    }

    private static let waiting = SignalingStatus.connecting(attempt: 2, nextAttemptAt: .zero, cause: refused)
    private static let trying = SignalingStatus.connecting(attempt: 2, nextAttemptAt: nil, cause: refused)
    private static let lost = SignalingStatus.disconnected(cause: refused)

    @Test func anOutageIsToldOnceAndItsEnd() {
        #expect(
            news(Self.trying, Self.lost, Self.waiting, Self.trying, Self.lost, Self.waiting, Self.trying, .connected)
                == [.unreachable(Self.refused), .back])
        #expect(
            news(.connected, Self.lost, Self.waiting, Self.trying, Self.lost, Self.trying, .connected, .connected)
                == [.unreachable(Self.refused), .back])
    }

    @Test func aConnectionThatIsBackAtOnceIsNoNews() {
        #expect(news(Self.trying, .connected, Self.lost, Self.waiting, Self.trying, .connected).isEmpty)
    }

    @Test func eachOutageIsToldAndAnEndIsNot() {
        #expect(
            news(Self.trying, Self.lost, Self.trying, .connected, Self.lost, Self.trying, Self.lost, .closed(.left))
                == [.unreachable(Self.refused), .back, .unreachable(Self.refused)])
    }
}
