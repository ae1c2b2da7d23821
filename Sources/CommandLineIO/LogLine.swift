package import Foundation
package import Logging

/// One record of a log as one line of text, or as one JSON object.
package enum LogLine {
    package enum Format: String, Sendable, CaseIterable {
        case text
        case json
    }

    /// The members of JSON objects that are no metadata. Metadata of these names get a prefix.
    private static let reserved = ["ts", "level", "label", "source", "msg", "omitted"]
    private static let fieldLimit = 64
    private static let depthLimit = 4
    private static let lengthLimit = 4096

    /// Returns the record, with its metadata and those of its logger, as a line without its end.
    package static func make(
        _ format: Format, _ event: LogEvent, label: String, metadata: Logger.Metadata, at time: Date
    ) -> String {
        var metadata = metadata
        if let more = event.metadata { metadata.merge(more) { $1 } }
        if let error = event.error, metadata["error"] == nil { metadata["error"] = "\(error)" }
        let pairs = metadata.sorted { $0.key < $1.key }
        switch format {
        case .text:
            let text = pairs.map { " \($0.key)=\($0.value)" }.joined()
            return VisibleText.escaping(
                "\(time.formatted(.iso8601)) \(event.level) \(label):\(text) [\(event.source)] \(event.message)")
        case .json:
            var line = JSONLine()
            // RFC 3339
            line.add("ts", time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
            line.add("level", event.level.rawValue)
            line.add("label", label)
            line.add("source", event.source)
            line.add("msg", bounded(event.message.description))
            var fields = Fields()
            for (key, value) in pairs { fields.add(key, value, depth: 0) }
            fields.finish(&line)
            return line.finished
        }
    }

    private static func bounded(_ text: String) -> String {
        text.utf8.count <= lengthLimit ? text : String(text.prefix(lengthLimit)) + "…"
    }

    /// Metadata as members of one object: `a: {b: c}` is `a.b`. No name comes twice.
    private struct Fields {
        private enum Value {
            case text(String)
            case list([String])
        }

        private var names = Set(LogLine.reserved)
        private var members: [(name: String, value: Value)] = []
        private var omitted = 0

        mutating func add(_ name: String, _ value: Logger.MetadataValue, depth: Int) {
            switch value {
            case .string(let text): append(name, .text(bounded(text)))
            case .stringConvertible(let value): append(name, .text(bounded(value.description)))
            case .array(let values):
                append(name, .list(values.prefix(LogLine.fieldLimit).map { bounded($0.description) }))
            case .dictionary(let members) where depth < LogLine.depthLimit:
                for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                    add("\(name).\(key)", value, depth: depth + 1)
                }
            case .dictionary: append(name, .text(bounded(value.description)))
            }
        }

        private mutating func append(_ name: String, _ value: Value) {
            guard members.count < LogLine.fieldLimit else {
                omitted += 1
                return
            }
            var name = String(name.prefix(256))
            if LogLine.reserved.contains(name) { name = "metadata." + name }
            while !names.insert(name).inserted { name += "_" }
            members.append((name, value))
        }

        func finish(_ line: inout JSONLine) {
            for (name, value) in members {
                switch value {
                case .text(let text): line.add(name, text)
                case .list(let list): line.add(name, list)
                }
            }
            if omitted > 0 { line.add("omitted", omitted) }
        }
    }
}
