/// What came of numbered messages on an ordered channel: 1, 2, 3, …
package struct SequenceBook: Sendable, Equatable {
    private var expected = 1
    private var skipped = 0
    package private(set) var duplicated = 0
    /// The highest number that came.
    package var highest: Int { expected - 1 }

    package init() {}

    /// A number that skips some counts those as lost; one that is not new, or late, as duplicated.
    package mutating func received(_ number: Int) {
        if number < expected {
            duplicated += 1
        } else {
            skipped += number - expected
            expected = number + 1
        }
    }

    /// How many of `sent` messages did not come.
    package func lost(of sent: Int) -> Int { skipped + max(0, sent - highest) }
}
