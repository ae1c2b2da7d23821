package import Foundation
internal import TransportPluginAPI

/// Another process of this executable that speaks JSON Lines. `demo` and `bench` run their parts in such processes.
///
/// SAFETY of `@unchecked Sendable`: the process and its pipes are set up once; writes are behind `input`'s lock.
package final class ChildProcess: @unchecked Sendable {
    package let name: String
    /// The JSON objects that the child prints, one a line, in order. Ends with the child's output.
    package let lines: AsyncStream<[String: any Sendable]>
    private let process = Process()
    private let input: Locked<FileHandle>

    /// The child could not be started.
    package struct NotStarted: Error, CustomStringConvertible {
        package let description: String
    }

    private struct WeakChild {
        weak var child: ChildProcess?
    }
    private static let running = Locked<[WeakChild]>([])

    /// Ends every child that still runs: for a command that is interrupted.
    package static func stopAll() {
        for child in running.withLock({ $0.compactMap(\.child) }) { child.stop() }
    }

    /// The path of this executable.
    package static var ownPath: String { URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path }

    /// Starts `room` with `arguments`, and with `environment` in addition to that of this process. Its standard error
    /// is passed through when `isVerbose`, otherwise dropped.
    package init(
        name: String, arguments: [String], executable: String = ChildProcess.ownPath,
        environment: [String: String] = [:], isVerbose: Bool = false
    ) throws {
        self.name = name
        let standardInput = Pipe()
        let standardOutput = Pipe()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        if !environment.isEmpty {
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        }
        process.standardInput = standardInput
        process.standardOutput = standardOutput
        if !isVerbose { process.standardError = FileHandle.nullDevice }
        input = Locked(standardInput.fileHandleForWriting)
        let (lines, feed) = AsyncStream.makeStream(of: [String: any Sendable].self)
        self.lines = lines
        let reader = standardOutput.fileHandleForReading
        do {
            try process.run()
        } catch {
            throw NotStarted(description: "cannot start \(name): \(error.localizedDescription)")
        }
        Self.running.withLock { running in
            running.removeAll { $0.child == nil }
            running.append(WeakChild(child: self))
        }
        let thread = Thread {
            var rest = Data()
            while case let chunk = reader.availableData, !chunk.isEmpty {
                rest += chunk
                while let end = rest.firstIndex(of: 10) {
                    if let object = Self.decode(rest[..<end]) { feed.yield(object) }
                    rest = Data(rest[(end + 1)...])
                }
            }
            feed.finish()
        }
        thread.name = name
        thread.start()
    }

    /// Sends one line. When the child is gone, its lines end.
    package func send(_ line: JSONLine) {
        input.withLock { try? $0.write(contentsOf: Data((line.finished + "\n").utf8)) }
    }

    package func endInput() { input.withLock { try? $0.close() } }

    package func signal(_ number: Int32) { if process.isRunning { kill(process.processIdentifier, number) } }

    package var identifier: Int32 { process.processIdentifier }

    /// Returns the exit status when the child has ended. The wait blocks, so it runs on a separate thread.
    package func exitStatus() async -> Int32 {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [process] in
                process.waitUntilExit()
                continuation.resume(returning: process.terminationStatus)
            }
        }
    }

    /// Ends the child if it is still running, and reaps it.
    package func stop() {
        signal(SIGKILL)
        process.waitUntilExit()
    }

    /// Reads one line of a child; nil for anything but a JSON object.
    package static func decode(_ line: Data) -> [String: any Sendable]? {
        guard let object = try? JSONSerialization.jsonObject(with: line) as? [String: Any] else { return nil }
        return object.compactMapValues(sendable)
    }

    private static func sendable(_ value: Any) -> (any Sendable)? {
        switch value {
        case let text as String: text
        case let number as NSNumber: number.doubleValue
        case let list as [Any]: list.compactMap(sendable)
        case let object as [String: Any]: object.compactMapValues(sendable)
        default: nil
        }
    }
}
