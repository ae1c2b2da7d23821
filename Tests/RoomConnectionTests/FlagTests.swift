import Testing
import TransportTestKit

@testable import RoomConnection

@Suite("A flag that tasks wait for", .timeLimit(.minutes(1)))
struct FlagTests {
    @Test func raisingTheLimitResumesAllWaiters() async {
        let flag = Flag()
        await withDiscardingTaskGroup { group in
            for _ in 0..<8 { group.addTask { await flag.wait() } }
            group.addTask { flag.raise() }
        }
        await flag.wait()
    }

    @Test func aCancelledTaskWaitsNoLonger() async {
        let flag = Flag()
        let task = Task { await flag.wait() }
        task.cancel()
        await task.value
    }
}
