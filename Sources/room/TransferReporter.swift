internal import CommandLineIO
internal import FileTransfer
internal import Foundation
internal import Hashing
internal import TransportPluginAPI

/// Prints what happens in a transfer of files: JSON Lines for programs; lines, and on a terminal a line of progress
/// that is written anew, for people.
final class TransferReporter: Sendable {
    private struct State {
        var rate = TransferRate()
        var progress: TransferProgress?
        var printedAt: Timestamp?
        /// Whether the last line on the terminal is the progress.
        var isLineOpen = false
        var startedAt = Timestamp.now()
    }

    /// The least time between two reports of progress.
    private static let interval = Duration.milliseconds(200)
    private static let intervalForPrograms = Duration.milliseconds(500)
    /// Names that are listed before a person is asked.
    private static let namesShown = 20

    let json: Bool
    private let output: OutputQueue
    private let isTerminal: Bool
    private let state = Locked(State())

    init(json: Bool, output: OutputQueue, isTerminal: Bool) {
        self.json = json
        self.output = output
        self.isTerminal = isTerminal
    }

    // MARK: Before the transfer

    func sending(_ tree: SourceTree) {
        for text in tree.passedOver { note("\(text): it is passed over") }
        if !json { note(Self.summary(tree.manifest)) }
    }

    /// Shows the code for the other side, and how it is used there.
    func code(_ code: TransferCode, server: String?) {
        if json {
            var line = JSONLine(event: "code")
            line.add("code", code.text)
            line.add("room", code.roomName)
            return print(line)
        }
        let option = server.map { " --server \($0)" } ?? ""
        note("code: \(code.text)")
        note("on the other machine: room receive\(option)     (it asks for the code)")
    }

    func waiting(_ text: String) { if !json { note(text) } }

    func offer(_ offer: FileReceiver.Offer) {
        let manifest = offer.manifest
        if json {
            var line = JSONLine(event: "offer")
            line.add("from", offer.senderName)
            line.add("files", manifest.fileCount)
            line.add("bytes", manifest.total)
            line.add("present", offer.plan.presentCount)
            line.add("names", manifest.topLevel.map(\.path.text))
            return print(line)
        }
        note("\(offer.senderName) sends \(Self.summary(manifest)):")
        list(manifest.topLevel, of: manifest, limit: Self.namesShown)
        if offer.plan.presentCount > 0 {
            note("of which \(ByteCount(offer.plan.presentCount)) seem to be here already")
        }
    }

    func listAll(_ manifest: Manifest) { list(manifest.entries, of: manifest, limit: .max) }

    /// Prints a question and leaves the cursor behind it.
    func ask(_ question: String) { output.append(VisibleText.escaping(question)) }

    private func list(_ entries: [Manifest.Entry], of manifest: Manifest, limit: Int) {
        for entry in entries.prefix(limit) {
            switch entry.kind {
            case .file: note("  \(entry.path.text)  \(ByteCount(entry.size))")
            case .folder: note("  \(entry.path.text)/")
            }
        }
        if entries.count > limit { note("  and \(entries.count - limit) more") }
    }

    private static func summary(_ manifest: Manifest) -> String {
        let count = manifest.fileCount
        return "\(count) \(count == 1 ? "file" : "files"), \(ByteCount(manifest.total))"
    }

    // MARK: The transfer

    func event(_ event: TransferEvent) {
        switch event {
        case .met(let name, let isProved):
            if json {
                var line = JSONLine(event: "met")
                line.add("name", name)
                line.add("proved", isProved)
                print(line)
            } else {
                note(isProved ? "\(name) has proved the code" : "\(name) is there")
            }
        case .agreed:
            state.withLock { state in
                state.startedAt = .now()
                state.rate.restart()
            }
        case .comparing(let path): if !json { note("\(path): is compared with what is there already") }
        case .began(let path, let offset): if !json, offset > 0 { note("\(path): goes on after \(ByteCount(offset))") }
        case .progress(let progress): show(progress)
        case .lost(let error):
            if json { problem(error.code.rawValue, error.message, isRetryable: true) } else { note(error.message) }
            state.withLock { $0.progress = nil }
        case .stored(let path, let size, let digest, let name): stored(path, size, digest, name)
        }
    }

    private func stored(_ path: String, _ size: UInt64, _ digest: Digest, _ name: String?) {
        if json {
            var line = JSONLine(event: "file")
            line.add("name", path)
            line.add("bytes", size)
            line.add("sha256", digest.description)
            if let name { line.add("as", name) }
            print(line)
        } else {
            note("\(path)\(name.map { ", as \($0)" } ?? ""): \(ByteCount(size)), whole")
        }
    }

    func done(_ summary: TransferSummary) {
        let seconds = (Timestamp.now() - state.withLock { $0.startedAt }).inSeconds
        if json {
            var line = JSONLine(event: "done")
            line.add("files", summary.fileCount)
            line.add("bytes", summary.byteCount)
            line.add("present", summary.presentCount)
            line.add("seconds", seconds, digits: 3)
            return print(line)
        }
        let count = summary.byteCount - summary.presentCount
        let rate = seconds > 0 ? Double(count) / seconds : 0
        note(
            "done: \(summary.fileCount) \(summary.fileCount == 1 ? "file" : "files"), \(ByteCount(summary.byteCount))"
                + (summary.presentCount > 0 ? ", of which \(ByteCount(summary.presentCount)) were here before" : "")
                + ", \(ByteCount(UInt64(rate)))/s")
    }

    func problem(_ code: String, _ message: String, isRetryable: Bool) {
        guard json else { return }
        var line = JSONLine(event: "error")
        line.add("code", code)
        line.add("message", message)
        line.add("retryable", isRetryable)
        print(line)
    }

    // MARK: Progress

    private func show(_ progress: TransferProgress) {
        let isDue = state.withLock { state -> Bool in
            state.progress = progress
            let now = Timestamp.now()
            state.rate.record(progress.count, at: now.seconds)
            let interval = json ? Self.intervalForPrograms : Self.interval
            if let last = state.printedAt, now - last < interval, progress.count < progress.total { return false }
            state.printedAt = now
            return true
        }
        if isDue { render() }
    }

    /// Shows the progress again: its rate falls when nothing moves.
    func tick() {
        guard isTerminal, !json else { return }
        let isRunning = state.withLock { state -> Bool in
            guard let progress = state.progress else { return false }
            state.rate.record(progress.count, at: Timestamp.now().seconds)
            return true
        }
        if isRunning { render() }
    }

    private func render() {
        let (progress, rate) = state.withLock { ($0.progress, $0.rate) }
        guard let progress else { return }
        if json {
            var line = JSONLine(event: "progress")
            line.add("file", progress.path)
            line.add("bytes", progress.count)
            line.add("of", progress.total)
            line.add("rate", rate.bytesPerSecond ?? 0, digits: 0)
            return print(line)
        }
        guard isTerminal else { return }
        let part = progress.total > 0 ? Double(progress.count) / Double(progress.total) : 1
        let width = TerminalMode.width
        let cells = min(30, max(8, width / 4))
        let filled = min(cells, Int(part * Double(cells)))
        var text = String(repeating: "█", count: filled) + String(repeating: "░", count: cells - filled)
        text += " " + progress.text(rate)
        text += "  " + VisibleText.escaping(progress.path).replacing("\n", with: " ")
        text = String(text.prefix(width - 1))
        state.withLock { $0.isLineOpen = true }
        output.append("\r\u{1B}[K" + text)
    }

    // MARK: Lines

    private func print(_ line: JSONLine) { output.append(line.finished + "\n") }

    /// Prints a line for people; control characters in it are shown as escapes. Programs get it on standard error.
    private func note(_ text: String) {
        guard !json else { return Output.printError("room: \(text)") }
        let wasOpen = state.withLock { state in
            defer { state.isLineOpen = false }
            return state.isLineOpen
        }
        output.append((wasOpen ? "\r\u{1B}[K" : "") + VisibleText.escaping(text) + "\n")
        if wasOpen { render() }
    }

    /// Ends the line of progress, so that what comes next stands on its own.
    func finish() {
        let wasOpen = state.withLock { state in
            state.progress = nil
            defer { state.isLineOpen = false }
            return state.isLineOpen
        }
        if wasOpen { output.append("\r\u{1B}[K") }
    }
}
