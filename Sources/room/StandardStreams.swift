internal import FileTransfer
internal import Foundation

/// Standard input as a file that is sent, and files that have arrived on standard output.
enum StandardStreams {
    /// Reads standard input to its end into a file without a name, which goes with this process. Returns its
    /// descriptor. Blocks.
    static func readInput() throws -> Int32 {
        var template = Array((NSTemporaryDirectory() + "room-XXXXXX").utf8CString)
        let file = mkstemp(&template)
        guard file >= 0 else { throw failure("a temporary file cannot be made") }
        unlink(template)
        try copy(0, to: file, "standard input cannot be read")
        return file
    }

    /// Writes the files of a list to standard output, one behind the other. Blocks.
    /// Throws `ExitStatus.readerGone` when nobody reads it.
    static func write(_ manifest: Manifest, in folder: URL) throws {
        for entry in manifest.entries where entry.kind == .file {
            let file = open(folder.appendingPathComponent(entry.path.text).path, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw failure("\(entry.path.text) cannot be read") }
            defer { close(file) }
            try copy(file, to: 1, "standard output cannot be written")
        }
    }

    private static func copy(_ source: Int32, to target: Int32, _ problem: String) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = read(source, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(problem) }
            guard count > 0 else { return }
            var start = 0
            while start < count {
                let written = buffer.withUnsafeBytes {
                    Foundation.write(target, $0.baseAddress! + start, count - start)
                }
                if written < 0, errno == EINTR { continue }
                if written < 0, errno == EPIPE { throw ExitStatus.readerGone }
                guard written > 0 else { throw failure(problem) }
                start += written
            }
        }
    }

    private static func failure(_ text: String) -> CommandError {
        CommandError(.undelivered, "\(text): \(String(cString: strerror(errno)))")
    }
}
