/// The record of numbered messages on an ordered channel: 1, 2, 3, …
package struct SequenceRecord: Sendable, Equatable {
    private var expected = 1
    private var skipped = 0
    package private(set) var duplicated = 0
    /// The highest number that arrived.
    package var highest: Int { expected - 1 }

    package init() {}

    /// Records a number. Skipped numbers count as lost, an old or repeated one as duplicated.
    package mutating func received(_ number: Int) {
        if number < expected {
            duplicated += 1
        } else {
            skipped += number - expected
            expected = number + 1
        }
    }

    /// Returns how many of `sent` messages did not arrive.
    package func lost(of sent: Int) -> Int { skipped + max(0, sent - highest) }
}
