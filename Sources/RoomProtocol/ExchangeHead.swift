/// Creates the bytes of exchange messages. For those with a body (topic messages, requests, answers, data) it is the
/// head, which the body follows; for the others the whole message.
///
/// Texts of failures, resets and stops are shortened to their limits; everything else is checked by the caller.
package enum ExchangeHead {
    package static func topicMessage(_ topic: String, isText: Bool) -> [UInt8] {
        var head = begin(.topicMessage, reserving: 2 + topic.utf8.count)
        head.append(isText ? 1 : 0)
        append(name: topic, to: &head)
        return head
    }

    package static func topicWindow(_ topic: String, limit: UInt64) -> [UInt8] {
        var message = begin(.topicWindow, reserving: 9 + topic.utf8.count)
        append(name: topic, to: &message)
        append(limit, to: &message)
        return message
    }

    package static func topicPosition(_ topic: String, sent: UInt64) -> [UInt8] {
        var message = begin(.topicPosition, reserving: 9 + topic.utf8.count)
        append(name: topic, to: &message)
        append(sent, to: &message)
        return message
    }

    /// `timeout`: milliseconds; nil: no limit.
    package static func request(id: UInt64, timeout: UInt32?, method: String, isText: Bool) -> [UInt8] {
        var head = begin(.request, id, reserving: 14 + method.utf8.count)
        append(timeout ?? 0, to: &head)
        head.append(isText ? 1 : 0)
        append(name: method, to: &head)
        return head
    }

    package static func answer(id: UInt64, isText: Bool) -> [UInt8] {
        var head = begin(.answer, id, reserving: 9)
        head.append(isText ? 1 : 0)
        return head
    }

    package static func failure(id: UInt64, code: String, message: String) -> [UInt8] {
        ending(.failure, id, code, message)
    }

    package static func cancel(id: UInt64) -> [UInt8] { begin(.cancel, id, reserving: 8) }

    package static func requestRestart(first: UInt64, last: UInt64) -> [UInt8] { range(.requestRestart, first, last) }

    package static func open(stream: UInt64, _ opening: ExchangeMessage.Opening) -> [UInt8] {
        var message = begin(.open, stream, reserving: 64 + opening.name.utf8.count)
        append(opening.length ?? .max, to: &message)
        append(name: opening.name, to: &message)
        message.append(UInt8(truncatingIfNeeded: opening.metadata.count))
        for (key, value) in opening.metadata.sorted(by: { $0.key < $1.key }) {
            append(name: key, to: &message)
            append(text: value, to: &message)
        }
        return message
    }

    package static func data(stream: UInt64) -> [UInt8] { begin(.data, stream, reserving: 8) }
    package static func end(stream: UInt64) -> [UInt8] { begin(.end, stream, reserving: 8) }

    package static func reset(stream: UInt64, code: String, message: String) -> [UInt8] {
        ending(.reset, stream, code, message)
    }

    package static func window(stream: UInt64, consumed: UInt64, limit: UInt64) -> [UInt8] {
        var message = begin(.window, stream, reserving: 24)
        append(consumed, to: &message)
        append(limit, to: &message)
        return message
    }

    package static func stop(stream: UInt64, code: String, message: String) -> [UInt8] {
        ending(.stop, stream, code, message)
    }

    package static func finished(stream: UInt64) -> [UInt8] { begin(.finished, stream, reserving: 8) }

    package static func restart(first: UInt64, last: UInt64) -> [UInt8] { range(.restart, first, last) }

    private static func range(_ kind: ExchangeProtocol.Kind, _ first: UInt64, _ last: UInt64) -> [UInt8] {
        var message = begin(kind, first, reserving: 8)
        append(last, to: &message)
        return message
    }

    // MARK: Fields

    private static func begin(_ kind: ExchangeProtocol.Kind, reserving count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1 + count)
        bytes.append(kind.rawValue)
        return bytes
    }

    private static func begin(_ kind: ExchangeProtocol.Kind, _ id: UInt64, reserving count: Int) -> [UInt8] {
        var bytes = begin(kind, reserving: 8 + count)
        append(id, to: &bytes)
        return bytes
    }

    private static func ending(
        _ kind: ExchangeProtocol.Kind, _ id: UInt64, _ code: String, _ message: String
    ) -> [UInt8] {
        let message = message.shortened(to: ExchangeLimits.message)
        var bytes = begin(kind, id, reserving: 80 + message.utf8.count)
        // A code has at least 1 byte.
        append(name: code.isEmpty ? "unknown" : code.shortened(to: ExchangeLimits.code), to: &bytes)
        append(text: message, to: &bytes)
        return bytes
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private static func append(name: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(truncatingIfNeeded: name.utf8.count))
        bytes.append(contentsOf: name.utf8)
    }

    private static func append(text: String, to bytes: inout [UInt8]) {
        append(UInt16(truncatingIfNeeded: text.utf8.count), to: &bytes)
        bytes.append(contentsOf: text.utf8)
    }
}

extension String {
    /// The text, or as many of its first scalars as fit into `limit` bytes.
    fileprivate func shortened(to limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var result = String.UnicodeScalarView()
        var count = 0
        for scalar in unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= limit else { break }
            result.append(scalar)
        }
        return String(result)
    }
}
