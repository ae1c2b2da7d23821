import Foundation
import RoomSimulation
import Testing

/// The vectors beside the browser client's tests, which reproduce them (`Tests/BrowserClient/vectors.test.mjs`).
@Suite struct VectorTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("BrowserClient/vectors")

    @Test func theKeptVectorsAreWhatTheMachinesDo() throws {
        let files = Vectors.kept
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
        #expect(names.filter { $0.hasSuffix(".jsonl") }.sorted() == files.keys.map { "\($0).jsonl" }.sorted())
        for (group, lines) in files.sorted(by: { $0.key < $1.key }) {
            let file = Self.folder.appendingPathComponent("\(group).jsonl")
            let kept = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
            guard kept != lines else { continue }
            let index = zip(kept, lines).enumerated().first { $1.0 != $1.1 }?.offset ?? min(kept.count, lines.count)
            Issue.record(
                """
                \(group).jsonl, line \(index + 1): the machines of today decide otherwise
                kept:  \(index < kept.count ? kept[index] : "nothing")
                today: \(index < lines.count ? lines[index] : "nothing")
                Where that is right, renew the vectors: room simulate --vectors Tests/BrowserClient/vectors --kept
                """)
        }
    }

    @Test func theKeptVectorsAreSmall() {
        #expect(Vectors.kept.values.joined().reduce(0) { $0 + $1.utf8.count + 1 } < 1_200_000)
    }

    @Test func aRecordedRunIsTheSameRun() {
        let plain = Simulation(.mixed(seed: 6))
        plain.run()
        var lines = 0
        let recorded = Vectors.record(.mixed(seed: 6)) { _, _ in lines += 1 }
        #expect(recorded.steps == plain.steps)
        #expect(recorded.messagesDelivered == plain.messagesDelivered)
        #expect(lines > 1000)
    }
}
