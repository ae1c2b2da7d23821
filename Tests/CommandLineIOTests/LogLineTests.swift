import Foundation
import Logging
import Testing

@testable import CommandLineIO

@Suite("Lines of the log") struct LogLineTests {
    private static let time = Date(timeIntervalSince1970: 1_700_000_000.25)

    private func object(_ message: String, _ metadata: Logger.Metadata) throws -> [String: Any] {
        let line = LogLine.make(
            .json, event(message, metadata), label: "room", metadata: ["node": "a"], at: Self.time)
        #expect(!line.contains("\n"))
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    private func event(_ message: String, _ metadata: Logger.Metadata) -> LogEvent {
        LogEvent(
            level: .warning, message: "\(message)", metadata: metadata, source: "RoomServer", file: "f", function: "g",
            line: 1)
    }

    @Test func aRecordIsOneObjectInOneLine() throws {
        let line = LogLine.make(
            .json, event("refused", ["code": "room_full", "count": "3"]), label: "room", metadata: ["node": "a"],
            at: Self.time)
        #expect(
            line == """
                {"ts":"2023-11-14T22:13:20.250Z","level":"warning","label":"room","source":"RoomServer",\
                "msg":"refused","code":"room_full","count":"3","node":"a"}
                """)
    }

    /// Somebody's name can end no line, make no member, and give a terminal no orders.
    @Test func textFromOthersStaysText() throws {
        let evil = "x\",\"level\":\"info\n{\"msg\":\"forged\"}\u{1B}[2J\u{2028}\u{0}\\"
        let line = LogLine.make(.json, event(evil, ["name": "\(evil)"]), label: "room", metadata: [:], at: Self.time)
        #expect(line.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x2028 && $0.value != 0x7F })
        let object = try object(evil, ["name": "\(evil)"])
        #expect(object["msg"] as? String == evil && object["name"] as? String == evil)
        #expect(object["level"] as? String == "warning")
    }

    @Test func metadataAreFlattenedAndReplaceNothing() throws {
        let object = try object(
            "m",
            [
                "level": "debug", "msg": "other", "a.b": "first", "a": ["b": "second", "c": ["d": "deep"]],
                "list": ["x", "y"], "empty": [:], "metadata.level": "taken",
            ])
        #expect(object["level"] as? String == "warning" && object["msg"] as? String == "m")
        let values = object.filter { $0.key.hasPrefix("metadata.level") }.values.compactMap { $0 as? String }
        #expect(Set(values) == ["debug", "taken"])
        #expect(object["metadata.msg"] as? String == "other")
        #expect(Set([object["a.b"] as? String, object["a.b_"] as? String]) == ["first", "second"])
        #expect(object["a.c.d"] as? String == "deep")
        #expect(object["list"] as? [String] == ["x", "y"])
    }

    @Test func aRecordIsBounded() throws {
        var metadata: Logger.Metadata = [:]
        for index in 0..<1000 { metadata["k\(index)"] = "\(String(repeating: "x", count: 10_000))" }
        var deep: Logger.MetadataValue = "end"
        for _ in 0..<100 { deep = ["d": deep] }
        metadata["a"] = deep
        let object = try object(String(repeating: "m", count: 100_000), metadata)
        // Those of every record, one from the logger among the rest, and the number of those that are missing.
        #expect(object.count == 5 + 64 + 1 && object["omitted"] as? Int == 1002 - 64)
        #expect(object.values.allSatisfy { ($0 as? String ?? "").count <= 4097 })
    }

    @Test func textIsOneLineToo() {
        let line = LogLine.make(
            .text, event("two\nlines", ["b": "2", "a": "1"]), label: "room", metadata: [:], at: Self.time)
        #expect(line == "2023-11-14T22:13:20Z warning room: a=1 b=2 [RoomServer] two\n          | lines")
    }
}
