internal import Hashing
internal import TransportPluginAPI

/// The files of one transfer as they arrive, after the receiver has agreed.
struct Arrival {
    /// Bytes that are collected before they are written: a hop to the thread that writes costs more than the bytes.
    private static let batchLength = 262_144
    /// Bytes and seconds after which the sender hears how much is written.
    private static let reportLength: UInt64 = 4 << 20
    private static let reportInterval = Duration.milliseconds(100)

    /// The file that is arriving.
    private struct Current {
        var index: Int
        var entry: Manifest.Entry
        var file: ArrivingFile
        /// The digest of a file that was there already and turned out to be the same.
        var existing: Digest?
        var name: String
        /// Bytes that have yet to come.
        var left: UInt64
    }

    private let manifest: Manifest
    private let plan: ArrivalPlan
    private let root: OpenFolder
    private let policy: ExistingFiles
    private let worker: BlockingWorker
    private let connection: any TransferConnection
    private let report: @Sendable (TransferEvent) -> Void

    /// Unfinished parts of earlier transfers, hashed.
    private var parts: [Int: ArrivingFile] = [:]
    private var existing: [Int: Digest] = [:]
    private var current: Current?
    private var batch: [(Payload, Range<Int>)] = []
    private var batchCount = 0
    /// The batch before it, which is being written meanwhile.
    private var writing: (job: BlockingWorker.Job<Void>, count: Int)?
    /// Bytes of this transfer that are written, and those that the sender has been told.
    private var written: UInt64 = 0
    private var reported: UInt64 = 0
    private var reportedAt = Timestamp.now()
    private var presentCount: UInt64 = 0
    private var nextIndex = 0
    private var storedCount = 0

    init(
        _ manifest: Manifest, _ plan: ArrivalPlan, _ root: OpenFolder, _ policy: ExistingFiles,
        _ worker: BlockingWorker, _ connection: any TransferConnection,
        _ report: @escaping @Sendable (TransferEvent) -> Void
    ) {
        self.manifest = manifest
        self.plan = plan
        self.root = root
        self.policy = policy
        self.worker = worker
        self.connection = connection
        self.report = report
    }

    /// Makes the folders, tells the sender what is there, and takes the files.
    func run(_ link: inout TransferLink) async throws -> TransferSummary {
        var arrival = self
        do {
            return try await withTaskExecutorPreference(connection.executor) { try await arrival.takeAll(&link) }
        } catch {
            await arrival.release()
            throw error
        }
    }

    /// Lets go of the files, when all that was begun is written: another transfer may go on with them at once.
    private func release() async {
        let files = Array(parts.values) + [current?.file].compactMap(\.self)
        try? await worker.run { for file in files { file.release() } }
    }

    private mutating func takeAll(_ link: inout TransferLink) async throws -> TransferSummary {
        try await makeFolders()
        for (index, step) in plan.steps.enumerated() where step.hasBytes { try await compare(index, step) }
        try await connection.send(.accept)
        let fileCount = manifest.fileCount
        while storedCount < fileCount {
            switch try await link.next() {
            case .message(.file(let index, let offset)): try await begin(Int(index), offset)
            case .message(.endOfFile(let digest)): try await finish(digest)
            case .message: throw TransferLink.violation
            case .data(let piece, let range):
                guard let left = current?.left, UInt64(range.count) <= left else { throw TransferLink.violation }
                current?.left -= UInt64(range.count)
                batch.append((piece, range))
                batchCount += range.count
                if batchCount >= Self.batchLength { try await flush() }
            }
        }
        return TransferSummary(fileCount: fileCount, byteCount: manifest.total, presentCount: presentCount)
    }

    private func makeFolders() async throws {
        let entries = try await worker.run { [manifest] in manifest.entries.filter { $0.kind == .folder } }
        for start in stride(from: 0, to: entries.count, by: 256) {
            try Task.checkCancellation()
            let some = entries[start..<min(start + 256, entries.count)]
            try await worker.run { [root] in
                for entry in some { try Self.folder(of: entry, root).makeFolder(entry.path.name, mode: entry.mode) }
            }
        }
    }

    private static func folder(of entry: Manifest.Entry, _ root: OpenFolder) throws(TransferError) -> OpenFolder {
        guard let folder = try root.folder(at: entry.path.parent) else {
            throw TransferError(.file, "the folder of \(entry.path.text) has gone: start again")
        }
        return folder
    }

    /// Hashes what is there of a file, and tells the sender.
    private mutating func compare(_ index: Int, _ step: ArrivalPlan.Step) async throws {
        let entry = manifest.entries[index]
        let lengths: [UInt64]
        switch step {
        case .folder, .fresh: return
        case .part(_, let count): lengths = ArrivingFile.checkpoints(of: count)
        case .existing: lengths = entry.size > 0 ? [entry.size] : []
        }
        report(.comparing(path: entry.path.text))
        let file = try await worker.run { [root] in
            let file = ArrivingFile(entry, in: try Self.folder(of: entry, root))
            if case .existing(let name) = step { try file.openExisting(name) } else { try file.openPart() }
            return file
        }
        var checkpoints: [TransferMessage.Checkpoint] = []
        for length in lengths {
            checkpoints.append(.init(length: length, digest: try await hash(file, length)))
        }
        if case .existing = step {
            existing[index] = checkpoints.last?.digest ?? Crypto.sha256([])
        } else {
            parts[index] = file
        }
        try await connection.send(.present(index: UInt32(index), checkpoints))
    }

    private func hash(_ file: ArrivingFile, _ length: UInt64) async throws -> Digest {
        while true {
            try Task.checkCancellation()
            if let digest = try await worker.run({ try file.hash(towards: length) }) { return digest }
        }
    }

    private mutating func begin(_ index: Int, _ offset: UInt64) async throws {
        // In order, and each once.
        guard current == nil, index >= nextIndex, index < manifest.entries.count,
            !manifest.entries[nextIndex..<index].contains(where: { $0.kind == .file })
        else { throw TransferLink.violation }
        let entry = manifest.entries[index]
        guard entry.kind == .file, offset <= entry.size else { throw TransferLink.violation }
        nextIndex = index + 1
        let step = plan.steps[index]
        if case .existing(let name) = step, offset == entry.size, let digest = existing[index] {
            let file = try await worker.run { [root] in ArrivingFile(entry, in: try Self.folder(of: entry, root)) }
            current = Current(index: index, entry: entry, file: file, existing: digest, name: name, left: 0)
        } else {
            try await beginWriting(index, entry, step, offset)
        }
        presentCount += offset
        report(.began(path: entry.path.text, offset: offset))
    }

    private mutating func beginWriting(
        _ index: Int, _ entry: Manifest.Entry, _ step: ArrivalPlan.Step, _ offset: UInt64
    ) async throws {
        let target: String
        switch step {
        case .folder: throw TransferLink.violation
        case .fresh(let name): target = name
        case .part(let name, _): target = name
        case .existing(let name):
            // Size and date are the same, and the content is not.
            guard policy != .refuse else {
                throw TransferError(
                    .exists,
                    "\(entry.path.text) is there already, with other contents: the receiver has it in another "
                        + "folder, or with --rename or --overwrite")
            }
            target = name
        }
        let opened = parts.removeValue(forKey: index)
        guard offset == 0 || opened != nil && offset <= opened?.position ?? 0 else { throw TransferLink.violation }
        let file = try await worker.run { [root] in
            try opened ?? ArrivingFile(entry, in: try Self.folder(of: entry, root))
        }
        if try await !worker.run({ try file.begin(at: offset) }) { _ = try await hash(file, offset) }
        current = Current(
            index: index, entry: entry, file: file, existing: nil, name: target, left: entry.size - offset)
    }

    /// Begins to write the batch once the one before it is written.
    private mutating func flush() async throws {
        guard !batch.isEmpty else { return }
        guard let current, current.existing == nil else { throw TransferLink.violation }
        try await settle()
        writing = (worker.begin { [batch] in try current.file.write(batch) }, batchCount)
        batch.removeAll(keepingCapacity: true)
        batchCount = 0
    }

    /// Waits until all that was begun is written.
    private mutating func settle() async throws {
        guard let (job, count) = writing, let current else { return }
        writing = nil
        try await job.value
        written += UInt64(count)
        if written - reported >= Self.reportLength || .now() - reportedAt >= Self.reportInterval {
            try await tell(current.entry)
        }
    }

    private mutating func tell(_ entry: Manifest.Entry) async throws {
        (reported, reportedAt) = (written, .now())
        report(
            .progress(
                TransferProgress(path: entry.path.text, count: presentCount + written, total: manifest.total)))
        try await connection.send(.written(written))
    }

    private mutating func finish(_ digest: Digest) async throws {
        try await flush()
        try await settle()
        guard let current else { throw TransferLink.violation }
        self.current = nil
        var name = current.name
        if let existing = current.existing {
            guard existing == digest else { throw TransferLink.violation }
        } else {
            name = try await worker.run { [policy] in try current.file.finish(digest, as: current.name, policy) }
        }
        let path = current.entry.path
        let final = (path.parent + [name]).joined(separator: "/")
        report(
            .stored(path: path.text, size: current.entry.size, digest, name: final == path.text ? nil : final))
        storedCount += 1
        if written != reported { try await tell(current.entry) }
        try await connection.send(.stored(index: UInt32(current.index)))
    }
}
