import Testing
import TransportValues

@testable import RoomServerCore

@Suite("What is remembered up to a limit")
struct BoundedTests {
    @Test func theLatestKeysAreRemembered() {
        var memory = BoundedMemory<Int>(limit: 3)
        for key in 1...100 {
            memory.insert(key)
            for recent in max(1, key - 2)...key { #expect(memory.contains(recent)) }
            #expect(!memory.contains(key - 3))
        }
    }

    @Test func aKeyThatComesAgainIsTheLatest() {
        var map = BoundedMap<Int, String>(limit: 2)
        map.insert("a", for: 1)
        map.insert("b", for: 2)
        map.insert("c", for: 1)
        map.insert("d", for: 3)
        #expect(map[1] == "c" && map[2] == nil && map[3] == "d")
    }

    /// However many keys come and go, the kept order is bounded, and no remembered key is lost for it.
    @Test func keysThatComeAndGoTakeNoPlace() {
        var map = BoundedMap<Int, Int>(limit: 4)
        map.insert(0, for: -1)
        for round in 0..<1000 {
            map.insert(round, for: round % 2)
            map.remove(round % 2)
        }
        #expect(map[-1] == 0 && map[0] == nil && map[1] == nil)
        #expect(map.keptCount <= 9)
    }

    @Test func aBucketHoldsItsBurstAndSaysHowLongTheRestTakes() {
        var bucket = TokenBucket()
        let start = Timestamp(nanoseconds: 5_000_000_000)
        func take(_ amount: Int, after time: Duration) -> Bool {
            bucket.take(amount, rate: 2, burst: 10, now: start + time)
        }
        let first = [take(6, after: .zero), take(5, after: .zero)]
        #expect(first == [true, false] && bucket.delay(of: 5, rate: 2, burst: 10) == .milliseconds(500))
        let second = [take(5, after: .milliseconds(499)), take(5, after: .milliseconds(500))]
        #expect(second == [false, true])
        // More than it can ever hold is all that it can hold.
        let third = [take(100, after: .milliseconds(5400)), take(100, after: .milliseconds(5500))]
        #expect(third == [false, true])
    }
}
