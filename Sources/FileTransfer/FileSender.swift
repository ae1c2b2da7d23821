internal import Hashing
internal import TransportPluginAPI

/// Sends a list of files over a connection to one receiver.
package struct FileSender: Sendable {
    private let tree: SourceTree
    private let code: TransferCode?
    private let worker: BlockingWorker

    /// - Parameter code: The secret that the receiver has to prove. Nil: whoever introduced the two is trusted.
    package init(_ tree: SourceTree, code: TransferCode?) throws {
        self.tree = tree
        self.code = code
        worker = try BlockingWorker()
    }

    /// Whether receivers prove a code.
    var hasCode: Bool { code != nil }

    /// Greets a receiver. Throws `.identity` when it does not prove that it has the code.
    package func meet(
        over connection: any TransferConnection
    ) async throws -> Session {
        var link = TransferLink(connection)
        try await reporting(connection) { try await TransferHandshake(.sender, code).perform(over: &link) }
        return Session(tree: tree, worker: worker, link: link)
    }

    /// A receiver that has greeted in order.
    package struct Session: Sendable {
        fileprivate let tree: SourceTree
        fileprivate let worker: BlockingWorker
        fileprivate var link: TransferLink

        /// Returns when the receiver has everything. Throws `TransferError`: `.interrupted` when the receiver is gone,
        /// which another session can continue.
        ///
        /// - Parameter report: Called on the connection's thread, which it must not block.
        package func send(_ report: @escaping @Sendable (TransferEvent) -> Void) async throws -> TransferSummary {
            try await reporting(link.connection) {
                let summary = try await transfer(report)
                try? await link.connection.send(.goodbye)
                await link.connection.close()
                return summary
            }
        }

        private func transfer(_ report: @escaping @Sendable (TransferEvent) -> Void) async throws -> TransferSummary {
            var link = link
            let list = try await worker.run { [tree] in tree.manifest.encoded() }
            let length = TransferMessage.lengthLimit
            for start in stride(from: 0, to: list.count, by: length) {
                let end = min(start + length, list.count)
                try await link.connection.send(.manifest(Array(list[start..<end]), isLast: end == list.count))
            }
            let present = try await answer(&link)
            report(.agreed(tree.manifest))
            let books = Books(tree.manifest, report)
            return try await withThrowingTaskGroup(of: Void.self) { [link] group in
                group.addTask { try await listen(link, books) }
                group.addTask(executorPreference: link.connection.executor) { try await sendFiles(present, books) }
                // The first error ends the other task.
                while try await group.next() != nil {}
                return books.summary
            }
        }

        /// Waits until the receiver wants the files. Returns the beginnings that it has.
        private func answer(_ link: inout TransferLink) async throws -> [UInt32: [TransferMessage.Checkpoint]] {
            var present: [UInt32: [TransferMessage.Checkpoint]] = [:]
            var count = 0
            while true {
                switch try await link.message() {
                case .accept: return present
                case .present(let index, let checkpoints):
                    count += checkpoints.count
                    guard index < tree.manifest.entries.count, tree.manifest.entries[Int(index)].kind == .file,
                        present[index] == nil, count <= 2 * 65_536,
                        checkpoints.allSatisfy({ $0.length <= tree.manifest.entries[Int(index)].size })
                    else { throw TransferLink.violation }
                    present[index] = checkpoints
                default: throw TransferLink.violation
                }
            }
        }

        private func sendFiles(_ present: [UInt32: [TransferMessage.Checkpoint]], _ books: Books) async throws {
            for (index, entry) in tree.manifest.entries.enumerated() where entry.kind == .file {
                let file = try await worker.run { try SourceFile(entry, in: tree) }
                let checkpoints = present[UInt32(index)] ?? []
                if !checkpoints.isEmpty { try await compare(file, checkpoints, entry, books) }
                let offset = file.confirmed
                books.begin(index, entry, at: offset)
                try await link.connection.send(.file(index: UInt32(index), offset: offset))
                // The next piece is read while this one goes out.
                var following = worker.begin { try file.nextPiece() }
                while let piece = try await following.value {
                    following = worker.begin { try file.nextPiece() }
                    try await link.connection.write(piece)
                }
                let digest = try await worker.run { try file.finish() }
                books.sent(index, digest)
                try await link.connection.send(.endOfFile(digest))
            }
        }

        /// Finds out how much of the receiver's beginning is the same.
        private func compare(
            _ file: SourceFile, _ checkpoints: [TransferMessage.Checkpoint], _ entry: Manifest.Entry, _ books: Books
        ) async throws {
            books.report(.comparing(path: entry.path.text))
            for checkpoint in checkpoints {
                while try await !worker.run({ try file.read(towards: checkpoint.length) }) {
                    try Task.checkCancellation()
                }
                guard try await worker.run({ file.confirm(checkpoint) }) else { break }
            }
            try await worker.run { file.rewind() }
        }

        /// Records what the receiver has, until it has everything.
        private func listen(_ link: TransferLink, _ books: Books) async throws {
            var link = link
            while true {
                switch try await link.message() {
                case .written(let count): try books.written(count)
                case .stored(let index): try books.stored(Int(index))
                case .finished:
                    guard books.isComplete else { throw TransferLink.violation }
                    return
                default: throw TransferLink.violation
                }
            }
        }
    }

    /// The record of what was sent, and of what the receiver has acknowledged.
    private final class Books: Sendable {
        private struct State {
            /// Bytes of files that the receiver had before, in the order of the files that have begun.
            var presentCount: UInt64 = 0
            var sentCount: UInt64 = 0
            var written: UInt64 = 0
            var digests: [Int: Digest] = [:]
            var storedCount = 0
            var path = ""
        }

        let report: @Sendable (TransferEvent) -> Void
        private let manifest: Manifest
        private let fileCount: Int
        private let state = Locked(State())

        init(_ manifest: Manifest, _ report: @escaping @Sendable (TransferEvent) -> Void) {
            self.manifest = manifest
            self.report = report
            fileCount = manifest.fileCount
        }

        func begin(_ index: Int, _ entry: Manifest.Entry, at offset: UInt64) {
            state.withLock { state in
                state.presentCount += offset
                state.sentCount += entry.size - offset
                state.path = entry.path.text
            }
            report(.began(path: entry.path.text, offset: offset))
        }

        func sent(_ index: Int, _ digest: Digest) { state.withLock { $0.digests[index] = digest } }

        func written(_ count: UInt64) throws {
            let progress = try state.withLock { state throws(TransferError) -> TransferProgress in
                guard count >= state.written, count <= state.sentCount else { throw TransferLink.violation }
                state.written = count
                return TransferProgress(path: state.path, count: state.presentCount + count, total: manifest.total)
            }
            report(.progress(progress))
        }

        func stored(_ index: Int) throws {
            // The receiver has compared the digest: it can have no file that was not sent to its end.
            guard
                let digest = state.withLock({ state -> Digest? in
                    guard let digest = state.digests.removeValue(forKey: index) else { return nil }
                    state.storedCount += 1
                    return digest
                })
            else { throw TransferLink.violation }
            let entry = manifest.entries[index]
            report(.stored(path: entry.path.text, size: entry.size, digest, name: nil))
        }

        var isComplete: Bool { state.withLock { $0.storedCount == fileCount } }

        var summary: TransferSummary {
            state.withLock {
                TransferSummary(fileCount: fileCount, byteCount: manifest.total, presentCount: $0.presentCount)
            }
        }
    }
}

/// Runs `body`, and tells the other side when this side ends the transfer.
func reporting<Result>(
    _ connection: any TransferConnection, _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch let error as TransferError {
        await error.report(over: connection)
        await connection.close()
        throw error
    } catch {
        await connection.close()
        throw error
    }
}
