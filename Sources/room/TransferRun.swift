internal import CLinux
internal import CommandLineIO
internal import FileTransfer
internal import Foundation
internal import RoomConnection
internal import TransportPluginAPI

/// One run of `send` or `receive`: joins the room, lets the transfer happen, and leaves.
struct TransferRun: Sendable {
    let role: TransferRoom.Role
    let room: String
    let participant: String
    let partnerName: String?
    let reporter: TransferReporter

    private enum Ending: Sendable {
        case done(TransferSummary)
        case stopped(StopSignals.Stop?)
    }

    /// Sets up output and signals, runs the transfer, and throws the exit status if it is not 0.
    static func perform(
        json: Bool, output descriptor: Int32 = 1, _ body: (TransferReporter, StopSignals) async throws -> ExitStatus
    ) async throws {
        let stops = StopSignals()
        defer { stops.cancel() }
        let output = OutputQueue(descriptor: descriptor, onReaderGone: { stops.readerIsGone() })
        let reporter = TransferReporter(json: json, output: output, isTerminal: isatty(descriptor) == 1)
        var failure: (any Error)?
        do {
            let status = try await body(reporter, stops)
            if status != .done { failure = status }
        } catch let error as TransferError {
            reporter.problem(error.code.rawValue, error.message, isRetryable: error.code == .interrupted)
            failure = CommandError(error)
        } catch let error as RoomError {
            reporter.problem(
                error.protocolCode?.rawValue ?? error.code.description, error.message, isRetryable: error.isRetryable)
            failure = error
        } catch {
            failure = error
        }
        reporter.finish()
        stops.isOver()
        await output.finish(within: stops.hasStopped ? .seconds(1) : nil)
        if let failure { throw failure }
    }

    func run(
        _ configuration: RoomConfiguration, _ registry: TransportRegistry, _ stops: StopSignals,
        onJoined: @escaping @Sendable () -> Void = {},
        _ transfer: @escaping @Sendable (AsyncStream<any TransferConnection>) async throws -> TransferSummary
    ) async throws -> ExitStatus {
        // Each chunk of a stream is a block that lives for a moment.
        CLinux_keep_freed_memory(4 << 20)
        // Enough for 40 MB/s over a round trip of 100 ms, and little memory.
        var bounded = configuration
        bounded.sendLimit = 4 << 20
        bounded.receiveLimit = 4 << 20
        return try await TransportRuntime.withRunning(bounded, registry: registry) { runtime in
            let ending = try await withThrowingTaskGroup(of: Ending.self) { group in
                defer { group.cancelAll() }
                group.addTask { .done(try await meet(runtime, onJoined, transfer)) }
                group.addTask {
                    for await stop in stops.stops { return .stopped(stop) }
                    return .stopped(nil)
                }
                group.addTask { [reporter] in
                    while true {
                        try await Task.sleep(for: .milliseconds(500))
                        reporter.tick()
                    }
                }
                return try await group.next() ?? .stopped(nil)
            }
            switch ending {
            case .done(let summary):
                reporter.done(summary)
                return .done
            case .stopped(.signal(SIGINT)): return .interrupted
            case .stopped(.readerGone): return .readerGone
            // What has arrived is kept, and the next run goes on with it.
            case .stopped: return .canContinue
            }
        }
    }

    private func meet(
        _ runtime: TransportRuntime, _ onJoined: @Sendable () -> Void,
        _ transfer: @escaping @Sendable (AsyncStream<any TransferConnection>) async throws -> TransferSummary
    ) async throws -> TransferSummary {
        let joined = try await TransferRoom.join(runtime, room: room, as: participant, role) {
            reporter.waiting(
                "the name \(participant) is still taken, maybe by an earlier run: waiting until it is free")
        }
        onJoined()
        let transferRoom = TransferRoom(joined, role, partnerName: partnerName)
        do {
            let summary = try await withThrowingTaskGroup(of: TransferSummary?.self) { group in
                defer { group.cancelAll() }
                group.addTask {
                    try await transferRoom.run()
                    return nil
                }
                group.addTask { try await transfer(transferRoom.connections) }
                while let result = try await group.next() {
                    if let result { return result }
                }
                throw CancellationError()
            }
            await joined.leave(within: .milliseconds(500))
            return summary
        } catch {
            await joined.leave(within: .milliseconds(500))
            throw error
        }
    }

    /// A name that is new each time, so that a participant of an earlier run is not in the way.
    static func freshName(_ role: TransferRoom.Role) -> String {
        "\(role == .send ? "sender" : "receiver")-" + String(UInt32.random(in: .min ... .max), radix: 36)
    }
}

extension CommandError {
    init(_ error: TransferError) {
        let status: ExitStatus =
            switch error.code {
            case .identity: .notProved
            case .interrupted: .canContinue
            case .declined, .busy: .declined
            case .notSupported: .unavailable
            case .exists: error.isFromOtherSide ? .declined : .exists
            case .unsafeName, .noSpace, .tooLarge: error.isFromOtherSide ? .declined : .undelivered
            case .file, .damaged, .protocolViolation: .undelivered
            }
        self.init(status, error.isFromOtherSide ? "the other side ended it: \(error.message)" : error.message)
    }
}
