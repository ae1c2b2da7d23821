import Foundation
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// Two folders, with transfers from one to the other.
final class Desk: Sendable {
    let source: URL
    let target: URL
    private let root: URL

    init() throws {
        root = FileManager.default.temporaryDirectory.appendingPathComponent("transfer-\(UUID().uuidString)")
        source = root.appendingPathComponent("source")
        target = root.appendingPathComponent("target")
        for folder in [source, target] {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        }
    }

    /// A desk with a file in its source folder.
    convenience init(_ name: String, _ content: Data) throws {
        try self.init()
        try add(name, content)
    }

    deinit { try? FileManager.default.removeItem(at: root) }

    static func bytes(_ count: Int, seed: UInt64 = 1) -> Data {
        var state = seed
        return Data(
            (0..<count).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 33)
            })
    }

    @discardableResult
    func add(_ path: String, _ content: Data) throws -> Data {
        let file = source.appendingPathComponent(path)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try content.write(to: file)
        return content
    }

    /// The named files and folders of the source folder, to be sent.
    func tree(_ names: String...) throws -> SourceTree { try tree(names) }

    private func tree(_ names: [String]) throws -> SourceTree {
        try SourceTree(names.map { source.appendingPathComponent($0).path })
    }

    /// Whether a file of the source folder has arrived with its content.
    func isWhole(_ path: String) -> Bool {
        arrived(path).map { $0 == (try? Data(contentsOf: source.appendingPathComponent(path))) } ?? false
    }

    func arrived(_ path: String) -> Data? { try? Data(contentsOf: target.appendingPathComponent(path)) }

    /// The names in the receiving folder, at all levels.
    var everything: [String] {
        (FileManager.default.enumerator(atPath: target.path)?.compactMap { $0 as? String } ?? []).sorted()
    }

    var parts: [String] { everything.filter { $0.hasSuffix(".part") } }

    struct Outcome {
        var sent: Result<TransferSummary, any Error>
        var received: Result<TransferSummary, any Error>
        var events: [TransferEvent]

        var sendError: TransferError? { Self.error(sent) }
        var receiveError: TransferError? { Self.error(received) }
        private static func error(_ result: Result<TransferSummary, any Error>) -> TransferError? {
            if case .failure(let error) = result { return error as? TransferError }
            return nil
        }
    }

    /// Sends the named files of the source folder.
    func transfer(
        _ names: [String], pair: (PipeConnection, PipeConnection) = PipeConnection.pair(),
        codes: (TransferCode?, TransferCode?) = (nil, nil), existing: ExistingFiles = .refuse, consents: Bool = true,
        limits: Manifest.Limits = Manifest.Limits(), onEvent: @escaping @Sendable (TransferEvent) -> Void = { _ in }
    ) async throws -> Outcome {
        let sender = try FileSender(try tree(names), code: codes.0)
        let receiver = try FileReceiver(into: target.path, code: codes.1, existing: existing, limits: limits)
        let events = Locked<[TransferEvent]>([])
        async let sent = Self.result {
            try await sender.meet(over: pair.0).send { _ in }
        }
        async let received = Self.result {
            try await receiver.receive(over: pair.1, consent: { _ in consents }) { event in
                events.withLock { $0.append(event) }
                onEvent(event)
            }
        }
        let (one, other) = await (sent, received)
        return Outcome(sent: one, received: other, events: events.withLock { $0 })
    }

    private static func result(
        _ body: () async throws -> TransferSummary
    ) async -> Result<TransferSummary, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
