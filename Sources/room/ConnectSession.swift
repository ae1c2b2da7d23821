internal import CommandLineIO
@preconcurrency internal import Dispatch
internal import Foundation
internal import InProcessTransport
internal import RoomConnection
internal import RoomProtocol
internal import TransportPluginAPI

/// One room on standard input and output.
struct ConnectSession: Sendable {
    let room: Room
    let reporter: EventReporter
    let output: OutputQueue
    let faults: ICEFaultControl?
    let json: Bool
    let leaveAtEOF: Bool
    /// The maximum size of a message in bytes.
    let messageLimit: Int
    /// Of a conversation on a terminal.
    let files: ConversationFiles?
    private let counts = Locked(Counts())
    /// Tells a send that waits for the first connection that somebody has connected or left, or that it has waited long
    /// enough.
    private let changes = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// How long `--leave-at-eof` waits for acknowledgements.
    private static let leaveTimeout = Duration.seconds(30)
    private static let connectionTimeout = Duration.seconds(5)

    private struct Counts {
        /// The numbers of accepted send commands, and of refused lines and commands.
        var accepted = 0
        var refused = 0
        var undelivered = 0
        /// Whether anybody was ever connected.
        var hasConnected = false
    }

    private enum Input: Sendable {
        case line(LineReader.Line, DispatchSemaphore)
        case end
    }

    private enum Outcome: Sendable {
        /// The room has ended, by itself if there is an error.
        case ended(RoomError?)
        case stopped(ExitStatus)
        case nothing
    }

    /// Returns when the room has ended, and all of its output is in the queue.
    func run(until stops: AsyncStream<StopSignals.Stop>, _ pressure: AsyncStream<Void>) async -> ExitStatus {
        let (inputs, feed) = AsyncStream.makeStream(of: Input.self)
        readLines(into: feed)
        await printMessages()
        let (status, error) = await withTaskGroup(of: Outcome.self) { group in
            group.addTask { .ended(await printEvents()) }
            group.addTask { await stop(stops) }
            group.addTask {
                await perform(inputs)
                return .nothing
            }
            group.addTask {
                for await _ in pressure { await setMessagesPaused(output.isFull) }
                return .nothing
            }
            if let files {
                group.addTask {
                    await files.run()
                    return .nothing
                }
            }
            if let terminal = reporter.terminal {
                group.addTask {
                    await terminal.keepStatusFresh()
                    return .nothing
                }
            }
            var status = ExitStatus.done
            var error: RoomError?
            for await outcome in group {
                switch outcome {
                case .ended(let reason):
                    error = reason
                    // One of the others may wait for ever.
                    group.cancelAll()
                case .stopped(let reason): status = reason
                case .nothing: break
                }
            }
            return (status, error)
        }
        // Messages that were held back precede the last event.
        await printMessages()
        reporter.left(error)
        if status != .done { return status }
        if error != nil { return .refused }
        return leaveAtEOF ? summarize() : .done
    }

    // MARK: Output

    private func printMessages() async { await room.onMessage { [reporter] message in reporter.message(message) } }

    /// Stops taking messages from the room while the output is full. The room holds senders back in turn; its loop
    /// continues.
    private func setMessagesPaused(_ isPaused: Bool) async {
        if isPaused { await room.clearMessageHandler() } else { await printMessages() }
    }

    /// Prints events until the end. Returns nil when this command left the room.
    private func printEvents() async -> RoomError? {
        for await event in room.events {
            await output.waitUntilOpen()
            switch event {
            case .left(let reason): return reason.error
            case .undelivered(_, let count): counts.withLock { $0.undelivered += count }
            default: break
            }
            reporter.event(event, in: room)
            switch event {
            case .peer(_, .connected):
                counts.withLock { $0.hasConnected = true }
                changes.continuation.yield()
            case .peerLeft: changes.continuation.yield()
            default: break
            }
        }
        return nil
    }

    private func summarize() -> ExitStatus {
        let counts = counts.withLock { $0 }
        guard counts.refused + counts.undelivered > 0 else { return .done }
        let what = json ? "commands" : "lines"
        if counts.refused > 0 {
            Output.printError("room: \(counts.refused) of \(counts.accepted + counts.refused) \(what) were not sent")
        }
        if counts.undelivered > 0 { Output.printError("room: \(counts.undelivered) messages were not delivered") }
        return .undelivered
    }

    // MARK: The end

    /// Leaves the room when an external reason ends the command.
    private func stop(_ stops: AsyncStream<StopSignals.Stop>) async -> Outcome {
        for await stop in stops {
            output.stopHoldingBack()
            await room.leave(within: .seconds(2))
            return switch stop {
            case .signal(SIGINT): .stopped(.interrupted)
            case .signal: .stopped(.done)
            case .readerGone: .stopped(.readerGone)
            }
        }
        return .nothing
    }

    // MARK: Input

    /// Performs the input line by line, until it ends or the room is left.
    private func perform(_ inputs: AsyncStream<Input>) async {
        for await input in inputs {
            switch input {
            case .line(let line, let done):
                switch line {
                case .tooLong(let length): refuse(line: length)
                case .line(let bytes) where json: if await !perform(bytes) { return }
                case .line(let bytes) where reporter.terminal != nil:
                    if await !perform(ChatLine(String(decoding: bytes, as: UTF8.self))) { return }
                // Pressing Enter at a terminal does not mean an empty message.
                case .line(let bytes) where !bytes.isEmpty || isatty(0) == 0:
                    let isText = String(validating: bytes, as: UTF8.self) != nil
                    await send(Payload(bytes), isText: isText, to: nil, channel: .reliable)
                case .line: break
                }
                done.signal()
            case .end:
                guard leaveAtEOF else { continue }
                return await room.leave(within: Self.leaveTimeout)
            }
        }
    }

    private func refuse(line length: Int) {
        counts.withLock { $0.refused += 1 }
        reporter.problem(
            RoomError.Code.messageTooLarge.description,
            "a line of \(length) bytes was not sent: a message has at most \(messageLimit) bytes; split it",
            isRetryable: false)
    }

    /// Performs one line. Returns false when the room was left.
    private func perform(_ line: [UInt8]) async -> Bool {
        let instruction: ConnectInstruction
        do throws(ConnectInstruction.Malformed) {
            instruction = try ConnectInstruction(line, allowsFaults: faults != nil)
        } catch {
            counts.withLock { $0.refused += 1 }
            await output.waitUntilOpen()
            reporter.problem("usage", error.message, isRetryable: false)
            return true
        }
        switch instruction {
        case .send(let payload, let isText, let participant, let channel):
            await output.waitUntilOpen()
            await send(payload, isText: isText, to: participant, channel: channel)
        case .leave:
            await room.leave()
            return false
        case .reconnect: room.reconnectNow()
        case .restart(let participant): room.restartPaths(to: participant)
        case .statistics: reporter.statistics(await room.statistics())
        case .cutPath: faults?.cut()
        case .restorePath: faults?.restore()
        }
        return true
    }

    /// Performs what somebody has typed. Returns false when the room was left.
    private func perform(_ line: ChatLine) async -> Bool {
        guard let terminal = reporter.terminal else { return true }
        switch line {
        case .nothing: break
        case .message(let text):
            if await send(Payload(text), isText: true, to: nil, channel: .reliable) {
                terminal.message(text, from: nil)
            }
        case .to(let text):
            guard let (receiver, text) = terminal.receiver(in: Substring(text)) else {
                terminal.note("Nobody of that name is here; /who lists everybody. Write /to NAME TEXT.", Output.red)
                return true
            }
            if text.isEmpty {
                terminal.note("What shall be sent? Write /to NAME TEXT.", Output.red)
            } else if await send(Payload(String(text)), isText: true, to: receiver, channel: .reliable) {
                terminal.message(String(text), from: nil, to: receiver)
            }
        case .send(let text): files?.send(text)
        case .take: files?.answer(true)
        case .refuse: files?.answer(false)
        case .cancel(let name): files?.cancel(name)
        case .who: terminal.people(await room.statistics())
        case .help: for line in ChatLine.summary.split(separator: "\n") { terminal.note(String(line), Output.grey) }
        case .reconnect: room.reconnectNow()
        case .quit:
            await room.leave(within: .seconds(2))
            return false
        case .unknown(let word): terminal.note("There is no command /\(word): /help lists them.", Output.red)
        }
        return true
    }

    /// Sends, and answers the command: with `sent`, or with an error. Returns whether it was accepted.
    @discardableResult
    private func send(
        _ payload: Payload, isText: Bool, to participant: ParticipantID?, channel: RoomChannel
    ) async -> Bool {
        do throws(RoomError) {
            var report = try await room.send(payload, isText: isText, to: participant, channel: channel)
            if report.acceptedCount == 0, channel == .lossy, await waitForFirstConnection() {
                report = try await room.send(payload, isText: isText, to: participant, channel: channel)
            }
            if report.acceptedCount > 0 {
                let count = counts.withLock { counts -> Int in
                    counts.accepted += 1
                    return counts.accepted
                }
                reporter.sent(count, to: report.acceptedCount)
                return true
            }
            counts.withLock { $0.refused += 1 }
            let isEmpty = room.participants.isEmpty
            reporter.problem(
                "no_receiver",
                isEmpty
                    ? "no other participant is in the room: the message was not sent"
                    : "no other participant is connected, and the lossy channel keeps no messages: the message was "
                        + "not sent",
                isRetryable: true)
        } catch {
            counts.withLock { $0.refused += 1 }
            switch error.code {
            // The room's end reports it.
            case .left, .refused, .cancelled: break
            default: reporter.problem(error)
            }
        }
        return false
    }

    /// Waits for the first connection of this run: the lossy channel keeps nothing for those whose connection is still
    /// being made. Returns false where there was nothing to wait for, or it took too long.
    private func waitForFirstConnection() async -> Bool {
        guard !room.participants.isEmpty, !counts.withLock({ $0.hasConnected }) else { return false }
        let isLate = Locked(false)
        let alarm = Task { [changes] in
            try await Task.sleep(for: Self.connectionTimeout)
            isLate.withLock { $0 = true }
            changes.continuation.yield()
        }
        defer { alarm.cancel() }
        for await _ in changes.stream {
            if counts.withLock({ $0.hasConnected }) { return true }
            if room.participants.isEmpty || isLate.withLock({ $0 }) { return false }
        }
        return false
    }

    /// Reads lines on a separate thread, since reading blocks. It waits until a line was taken before it reads the
    /// next.
    private func readLines(into feed: AsyncStream<Input>.Continuation) {
        if let terminal = reporter.terminal { return readKeys(terminal, into: feed) }
        // A character may be an escape of six bytes; the rest is for the other fields.
        let limit = json ? messageLimit * 6 + 65_536 : messageLimit
        let thread = Thread {
            var reader = LineReader(descriptor: 0, limit: limit)
            let done = DispatchSemaphore(value: 0)
            while let line = reader.next() {
                guard case .enqueued = feed.yield(.line(line, done)) else { return }
                done.wait()
            }
            feed.yield(.end)
        }
        thread.name = "stdin"
        thread.start()
    }

    /// As `readLines`, from a terminal. Ctrl-D on an empty line leaves the room.
    private func readKeys(_ terminal: TerminalView, into feed: AsyncStream<Input>.Continuation) {
        let thread = Thread {
            terminal.drawInput()
            let done = DispatchSemaphore(value: 0)
            var buffer = [UInt8](repeating: 0, count: 4096)
            while case let count = read(0, &buffer, buffer.count), count > 0 || errno == EINTR {
                guard let lines = terminal.typed(buffer[..<max(count, 0)]) else { break }
                for line in lines {
                    guard case .enqueued = feed.yield(.line(.line(Array(line.utf8)), done)) else { return }
                    done.wait()
                }
            }
            if case .enqueued = feed.yield(.line(.line(Array("/quit".utf8)), done)) { done.wait() }
        }
        thread.name = "keys"
        thread.start()
    }
}
