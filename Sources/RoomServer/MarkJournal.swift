@preconcurrency internal import Dispatch
internal import Logging
internal import RoomServerCore
internal import TransportPluginAPI

/// Writes the marks of all loops of a server to its file, in their order and on a thread of its own.
///
/// A mark is on its way to the disk when `append` returns, and in the file some milliseconds later. That somebody was
/// kicked, or a room closed, is synced to the disk then, before `whenKept` is called; that somebody left is not, so a
/// power failure can lose the last seconds of that. What comes while the disk is busy is written together.
final class MarkJournal: Sendable {
    private struct Waiting {
        var lines: [UInt8] = []
        var mustSync = false
        var dropped = 0
        var whenKept: [@Sendable (Bool) -> Void] = []
    }

    /// The bytes that may wait for the disk. Over it, marks are dropped.
    private static let limit = 8 << 20

    private let file: Locked<MarkFile>
    private let waiting = Locked(Waiting())
    private let queue = DispatchQueue(label: "room-marks")
    private let limits: RoomServerLimits
    private let logger: Logger
    /// Whether the last write has failed. Used on the queue.
    private let hasFailed = Locked(false)
    /// Returns the seconds since 1970.
    private let now: @Sendable () -> Int

    /// Opens a file, and reads its marks. Blocks as long as the file system does.
    static func open(
        _ path: String, machines: Int, limits: RoomServerLimits, now: @escaping @Sendable () -> Int, _ logger: Logger
    ) throws(RoomServerError) -> MarkMemory {
        let file = try MarkFile(path, machines: machines)
        let (marks, damaged) = try file.rewrite(now: now())
        if damaged > 0 {
            logger.warning(
                "damaged lines were left out, as after a power failure: some participants that were kicked may return",
                metadata: ["file": "\(path)", "lines": "\(damaged)"])
        }
        return MarkMemory(marks: marks, journal: MarkJournal(file, limits: limits, now: now, logger))
    }

    private init(
        _ file: sending MarkFile, limits: RoomServerLimits, now: @escaping @Sendable () -> Int, _ logger: Logger
    ) {
        self.file = Locked(file)
        self.limits = limits
        self.now = now
        self.logger = logger
    }

    /// Writes marks behind those of earlier calls. `whenKept` is called once, on any thread, when that is done, and
    /// with false when they could not be written.
    func append(_ marks: [Mark], whenKept: (@Sendable (Bool) -> Void)? = nil) {
        let now = now()
        var lines: [UInt8] = []
        for mark in marks {
            let expiry = now + Int(mark.lifetime(limits).components.seconds)
            lines += MarkFile.line(mark, expiry: UInt64(clamping: expiry))
        }
        let mustSync = marks.contains { $0.mustSync }
        let (isFirst, isDropped) = waiting.withLock { waiting in
            guard waiting.lines.count + lines.count <= Self.limit else {
                waiting.dropped += marks.count
                return (false, true)
            }
            defer {
                waiting.lines += lines
                waiting.mustSync = waiting.mustSync || mustSync
                if let whenKept { waiting.whenKept.append(whenKept) }
            }
            return (waiting.lines.isEmpty, false)
        }
        if isFirst { queue.async { self.write() } }
        if isDropped { whenKept?(false) }
    }

    /// Writes everything, and closes the file.
    func finish() async {
        await withCheckedContinuation { continuation in
            queue.async {
                self.write()
                self.file.withLock { $0.end() }
                continuation.resume()
            }
        }
    }

    private func write() {
        let taken = waiting.withLock { waiting in
            defer { waiting = Waiting() }
            return waiting
        }
        if taken.dropped > 0 {
            logger.error(
                "the disk is too slow: a restart will forget who left or was kicked",
                metadata: ["marks": "\(taken.dropped)"])
        }
        guard !taken.lines.isEmpty else { return }
        let failure = attempt { file throws(RoomServerError) in try file.append(taken.lines, syncs: taken.mustSync) }
        let isNew = hasFailed.withLock { hasFailed in
            defer { hasFailed = failure != nil }
            return !hasFailed
        }
        if let failure, isNew {
            logger.error(
                "marks cannot be written: a restart will forget who left or was kicked",
                metadata: ["error": "\(failure.message)"])
        }
        for whenKept in taken.whenKept { whenKept(failure == nil) }
        // After each further mebibyte.
        if let failure = attempt({ file throws(RoomServerError) in try file.rewriteIfLong(now: now()) }) {
            logger.error(
                "the file of marks cannot be written anew, and grows: look for space and rights in its folder",
                metadata: ["error": "\(failure.message)"])
        }
    }

    private func attempt(_ body: (MarkFile) throws(RoomServerError) -> Void) -> RoomServerError? {
        file.withLock { file in
            do throws(RoomServerError) { try body(file) } catch { return error }
            return nil
        }
    }
}

/// The marks of earlier runs, and the journal for new ones.
struct MarkMemory: Sendable {
    let marks: [Mark]
    let journal: MarkJournal
}

extension RoomServerConfiguration {
    /// Opens the file of departures; nil when there is none. Blocks as long as the file system does.
    func openMemory(_ now: @escaping @Sendable () -> Int, _ logger: Logger) throws(RoomServerError) -> MarkMemory? {
        guard let departuresFile else { return nil }
        do throws(RoomServerError) {
            return try MarkJournal.open(departuresFile, machines: threads, limits: limits, now: now, logger)
        } catch {
            guard !requiresDeparturesFile else { throw error }
            logger.warning(
                "a restart will forget who left or was kicked", metadata: ["reason": "\(error.message)"])
            return nil
        }
    }
}

extension Mark {
    /// Whether it must survive a power failure, and is confirmed only when it does: what somebody has decided about
    /// others.
    var mustSync: Bool {
        switch fact {
        case .kicked, .nameKicked, .nameBanned, .roomClosed: true
        case .left, .replaced, .roomCreated, .roomRemoved: false
        }
    }
}
