internal import CommandLineIO
internal import FileTransfer
internal import Foundation
internal import TransportPluginAPI

/// The places from which a code comes: an argument, the environment, a prompt, or standard input.
enum CodeInput {
    /// The variable that holds a code.
    static let variable = "ROOM_CODE"

    /// Returns the code in an argument or the environment, or nil where neither has one.
    static func given(_ argument: String?) throws -> TransferCode? {
        let text = argument ?? ProcessInfo.processInfo.environment[variable]
        guard let text, !text.isEmpty else { return nil }
        return try parse(text)
    }

    /// Asks for a code on a terminal, or reads the first line of standard input.
    static func read() async throws -> TransferCode {
        while true {
            let isTerminal = isatty(0) == 1
            if isTerminal { FileHandle.standardError.write(Data("code: ".utf8)) }
            guard let line = await StandardInput.line() else {
                throw CommandError(
                    .usage, "there is no code: type it when asked, pipe it in, or set \(variable)")
            }
            do {
                return try parse(line)
            } catch let error as CommandError where isTerminal {
                Output.printError("room: \(error.message)")
            }
        }
    }

    private static func parse(_ text: String) throws -> TransferCode {
        do throws(TransferCode.Malformed) {
            return try TransferCode(text)
        } catch {
            throw CommandError(.usage, error.message)
        }
    }
}

/// Lines that a person types, one for each question.
enum StandardInput {
    private static let lineLimit = 4096

    /// Returns the next line, or nil at the end of input or when the task is cancelled. Reading blocks, so it has a
    /// thread of its own; after a cancellation the thread stays behind until the process ends.
    static func line() async -> String? {
        let waiting = Locked<CheckedContinuation<String?, Never>?>(nil)
        let finish: @Sendable (String?) -> Void = { line in
            let continuation = waiting.withLock { waiting in
                defer { waiting = nil }
                return waiting
            }
            continuation?.resume(returning: line)
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiting.withLock { $0 = continuation }
                if Task.isCancelled { return finish(nil) }
                if !DetachedThread.start({ finish(readBytes()) }) { finish(nil) }
            }
        } onCancel: {
            finish(nil)
        }
    }

    /// Reads byte by byte: what follows the line is not for this reader.
    private static func readBytes() -> String? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.count < lineLimit {
            let count = Foundation.read(0, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return line.isEmpty ? nil : String(decoding: line, as: UTF8.self) }
            if byte == UInt8(ascii: "\n") { break }
            line.append(byte)
        }
        return String(decoding: line, as: UTF8.self)
    }
}
