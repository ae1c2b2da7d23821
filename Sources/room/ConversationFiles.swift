internal import CommandLineIO
internal import FileTransfer
internal import RoomConnection
internal import TransportPluginAPI

/// Files in a conversation: what is sent with `/send`, and what others offer.
final class ConversationFiles: Sendable {
    private struct Offer {
        let number: Int
        let answer: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var offers: [Offer] = []
        var nextNumber = 0
    }

    private let files: RoomFiles
    private let room: Room
    private let terminal: TerminalView
    private let jobs = AsyncStream.makeStream(of: (path: String, receivers: [RoomParticipant]).self)
    private let state = Locked(State())

    init(_ room: Room, _ terminal: TerminalView) {
        files = RoomFiles(room)
        self.room = room
        self.terminal = terminal
    }

    /// Lets transfers happen until the room ends or the task is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { [self] in
                await files.receive(into: ".", consent: { await self.consent(to: $0) }) { name, event in
                    self.terminal.transfer(event, "from \(name)")
                    self.noteLoss(event, of: name)
                    if case .stored(let path, _, _, let newName) = event {
                        self.terminal.note("\(path) from \(name) is here, as \(newName ?? path)", Output.green)
                    }
                } failed: { name, error in
                    self.terminal.transfer(nil, "from \(name)")
                    if let error = error as? TransferError, error.code == .declined, !error.isFromOtherSide { return }
                    self.problem("nothing more comes from \(name)", error)
                }
                jobs.continuation.finish()
            }
            for await job in jobs.stream {
                group.addTask { [self] in await send(job.path, to: job.receivers) }
            }
        }
    }

    /// Says that a transfer waits for the other side.
    private func noteLoss(_ event: TransferEvent, of name: String) {
        guard case .lost = event else { return }
        terminal.note("\(name) is gone: the transfer goes on when \(name) is back", Output.yellow)
    }

    private func problem(_ what: String, _ error: any Error) {
        let reason = (error as? TransferError)?.message ?? (error as? RoomError)?.message
        guard let reason else { return }
        terminal.note("\(what): \(reason)", Output.red)
    }

    // MARK: To others

    /// Sends what somebody has named: a path, maybe behind the name of the only receiver.
    func send(_ text: String) {
        var path = text
        var receivers = files.takers
        if let (id, rest) = terminal.receiver(in: Substring(text)), !rest.isEmpty {
            path = String(rest)
            receivers = receivers.filter { $0.id == id }
        }
        guard !path.isEmpty else {
            return terminal.note("What shall be sent? Write /send FILE or /send NAME FILE.", Output.red)
        }
        guard !receivers.isEmpty else {
            return terminal.note("Nobody whose program takes files is meant.", Output.red)
        }
        jobs.continuation.yield((path, receivers))
    }

    /// Lists the files on a thread of their own: a conversation goes on meanwhile.
    private func send(_ path: String, to receivers: [RoomParticipant]) async {
        do {
            let tree = try await SourceTree.listing([path])
            await withDiscardingTaskGroup { group in
                for receiver in receivers {
                    terminal.note("\(path) is offered to \(receiver.name)", Output.grey)
                    group.addTask { [self] in await send(tree, to: receiver) }
                }
            }
        } catch {
            problem("nothing is sent", error)
        }
    }

    private func send(_ tree: SourceTree, to receiver: RoomParticipant) async {
        let side = "to \(receiver.name)"
        defer { terminal.transfer(nil, side) }
        do {
            let summary = try await files.send(tree, to: receiver) { [self] event in
                terminal.transfer(event, side)
                noteLoss(event, of: receiver.name)
            }
            terminal.note("\(receiver.name) has it whole, \(ByteCount(summary.byteCount))", Output.green)
        } catch {
            problem("\(receiver.name) does not get it", error)
        }
    }

    // MARK: To and from others

    /// Gives up the transfers to and from somebody, who may be gone.
    func cancel(_ name: String) {
        if files.cancel(name) { return }
        terminal.note(
            name.isEmpty ? "Whose transfer? Write /cancel NAME." : "Nothing is under way to or from \(name).",
            Output.red)
    }

    // MARK: From others

    /// Answers the oldest offer.
    func answer(_ isWanted: Bool) {
        let offer = state.withLock { $0.offers.isEmpty ? nil : $0.offers.removeFirst() }
        guard let offer else { return terminal.note("Nobody offers anything.", Output.red) }
        offer.answer.resume(returning: isWanted)
    }

    private func consent(to offer: FileReceiver.Offer) async -> Bool {
        let manifest = offer.manifest
        let topLevel = manifest.topLevel
        let names = topLevel.prefix(5).map(\.path.text).joined(separator: ", ")
        let more = topLevel.count > 5 ? " and more" : ""
        let line = "\(offer.senderName) offers \(names)\(more), \(ByteCount(manifest.total)): /take or /refuse"
        let number = state.withLock { state in
            state.nextNumber += 1
            return state.nextNumber
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = state.withLock { state in
                    guard !Task.isCancelled else { return false }
                    state.offers.append(Offer(number: number, answer: continuation))
                    return true
                }
                guard isWaiting else { return continuation.resume(returning: false) }
                // Not before: an answer may follow at once.
                terminal.note(line, Output.green)
            }
        } onCancel: {
            let offer = state.withLock { state in
                state.offers.firstIndex { $0.number == number }.map { state.offers.remove(at: $0) }
            }
            offer?.answer.resume(returning: false)
        }
    }
}
