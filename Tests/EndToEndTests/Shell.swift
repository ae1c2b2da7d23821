import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

/// A command line that a shell runs; `$ROOM` is the executable.
final class Shell: Sendable {
    struct Result: Sendable {
        var status: Int32
        var output: String
        var errors: String

        /// The lines of the output that are events of this name.
        func events(_ name: String) -> [Line] {
            output.split(separator: "\n").compactMap { line -> Line? in
                guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
                    object["event"] as? String == name
                else { return nil }
                return object.compactMapValues { value in
                    (value as? String) ?? (value as? NSNumber)?.doubleValue
                }
            }
        }
    }

    private let process: Process
    private let input: FileHandle?
    private let output: FileHandle
    private let lines: Locked<Lines>

    private init(_ command: String, input: Pipe? = nil, _ configure: (Process) throws -> FileHandle) throws {
        self.input = input?.fileHandleForWriting
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        var environment = ProcessInfo.processInfo.environment
        environment["ROOM"] =
            URL(fileURLWithPath: ChildProcess.ownPath).deletingLastPathComponent()
            .appendingPathComponent("room").path
        process.environment = environment
        output = try configure(process)
        lines = Locked(Lines(output: output))
        try process.run()
    }

    /// Starts a command whose output only `readLines` reads. Its input stays open.
    static func start(_ command: String) throws -> Shell {
        let input = Pipe()
        return try Shell(command, input: input) { process in
            let pipe = Pipe()
            process.standardOutput = pipe
            process.standardInput = input
            return pipe.fileHandleForReading
        }
    }

    /// Runs a command to its end.
    ///
    /// - Parameter input: The command's standard input. Nil: an input that stays open until the command ends.
    static func run(_ command: String, input: String? = "") async throws -> Result {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("room-shell-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let files = ["in", "out", "err"].map { directory.appendingPathComponent($0) }
        for file in files { try Data((file.lastPathComponent == "in" ? input ?? "" : "").utf8).write(to: file) }
        let open = Pipe()
        let shell = try Shell(command) { process in
            process.standardInput = input == nil ? open : try FileHandle(forReadingFrom: files[0])
            process.standardOutput = try FileHandle(forWritingTo: files[1])
            process.standardError = try FileHandle(forWritingTo: files[2])
            return .nullDevice
        }
        let status = await shell.status()
        try open.fileHandleForWriting.close()
        let texts = try files.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
        return Result(status: status, output: texts[1], errors: texts[2])
    }

    /// Returns when the content of the file fulfils the condition.
    static func waitForFile(_ path: String, until isDone: (String) -> Bool) async throws {
        let deadline = Timestamp.now() + .seconds(20)
        while true {
            let text = try String(contentsOfFile: path, encoding: .utf8)
            if isDone(text) { return }
            guard .now() < deadline else { throw Timeout(description: "\(path) does not hold it: \(text.suffix(500))") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// The processes that a process has started.
    static func children(of process: Int32) throws -> [Int32] {
        try String(contentsOfFile: "/proc/\(process)/task/\(process)/children", encoding: .utf8)
            .split(separator: " ").compactMap { Int32($0) }
    }

    func signal(_ number: Int32) { if process.isRunning { kill(process.processIdentifier, number) } }

    func status() async -> Int32 {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [process] in
                process.waitUntilExit()
                continuation.resume(returning: process.terminationStatus)
            }
        }
    }

    func stop() {
        signal(SIGKILL)
        process.waitUntilExit()
    }

    func type(_ text: String) { try? input?.write(contentsOf: Data(text.utf8)) }

    func endInput() { try? input?.close() }

    /// Returns when a line of the output contains `text`; those before it are passed over. The command is killed when
    /// none has come within `deadline`.
    func waitForLine(_ text: String, within deadline: Duration = .seconds(40)) async throws {
        let alarm = Task {
            try await Task.sleep(for: deadline)
            signal(SIGKILL)
        }
        defer { alarm.cancel() }
        let isThere = await withCheckedContinuation { continuation in
            Thread.detachNewThread { [lines] in
                let isThere = lines.withLock { lines -> Bool in
                    while let line = lines.next() { if line.contains(text) { return true } }
                    return false
                }
                continuation.resume(returning: isThere)
            }
        }
        guard isThere else { throw Timeout(description: "the output ended without a line with '\(text)'") }
    }

    /// The lines of the output, read on demand. Blocks.
    func readLines() -> Lines { Lines(output: output) }

    struct Lines {
        let output: FileHandle
        private var rest = Data()

        init(output: FileHandle) { self.output = output }

        mutating func next() -> String? {
            while true {
                if let end = rest.firstIndex(of: 10) {
                    defer { rest = Data(rest[(end + 1)...]) }
                    return String(decoding: rest[..<end], as: UTF8.self)
                }
                let chunk = output.availableData
                guard !chunk.isEmpty else { return nil }
                rest += chunk
            }
        }
    }
}
