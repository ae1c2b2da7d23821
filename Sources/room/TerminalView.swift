internal import CommandLineIO
internal import FileTransfer
internal import Foundation
internal import RoomConnection
internal import RoomProtocol
internal import TransportPluginAPI

/// A conversation on a terminal: what happens scrolls, outages are one line that is rewritten, and what is being typed
/// stays whole.
///
/// Used by the tasks of the command and by the room's loop; it never waits.
final class TerminalView: Sendable {
    private struct State {
        var conversation: Conversation
        var transfers = ConversationTransfers()
        var screen: TerminalScreen
        var editor: LineEditor
        var isClosed = false
    }

    private let output: OutputQueue
    private let mode: TerminalMode
    private let state: Locked<State>
    private static let prompt = "> "

    /// - Parameter messageLimit: Bytes of the longest line.
    init(room: String, name: String, messageLimit: Int, mode: TerminalMode, output: OutputQueue) {
        self.output = output
        self.mode = mode
        state = Locked(
            State(
                conversation: Conversation(room: room, name: name), screen: TerminalScreen(width: TerminalMode.width),
                editor: LineEditor(limit: messageLimit)))
    }

    // MARK: Output

    func event(_ event: RoomEvent, in room: Room) {
        draw { state, now in
            state.conversation.take(event, verificationCode: { room.security(of: $0)?.verificationCode }, now: now)
        }
    }

    /// Shows a message of a participant; of this one where `from` is nil.
    func message(_ text: String, from: ParticipantID?, to receiver: ParticipantID? = nil) {
        draw { state, _ in [state.conversation.line(from: from, text, to: receiver)] }
    }

    func note(_ text: String, _ colour: Int?) { draw { _, _ in [StyledText(text, colour: colour)] } }

    func people(_ statistics: [ParticipantID: PeerConnectionStatistics]) {
        draw { state, _ in state.conversation.people { statistics[$0]?.roundTrip } }
    }

    /// Shows an event of a transfer of files; nil: the transfer has ended. `side`: `to bob`, or `from alice`.
    func transfer(_ event: TransferEvent?, _ side: String) {
        draw { state, now in
            if let event { state.transfers.take(event, side, now: now) } else { state.transfers.end(side) }
            return []
        }
    }

    /// Brings the times of the status line up to date, until the task is cancelled.
    func keepStatusFresh() async {
        while !Task.isCancelled {
            draw { _, _ in [] }
            try? await Task.sleep(for: .milliseconds(500))
        }
    }

    /// Gives the terminal back, below the last line.
    func close() {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.isClosed = true
            output.append(state.screen.close())
        }
        mode.restore()
    }

    private func draw(_ lines: (inout State, Timestamp) -> [StyledText]) {
        state.withLock { state in
            let now = Timestamp.now()
            let lines = lines(&state, now)
            guard !state.isClosed else { return lines.forEach { output.append($0.rendered + "\n") } }
            state.screen.width = TerminalMode.width
            var drawing = ""
            if !lines.isEmpty {
                let time = Output.coloured(Self.time(), Output.grey)
                drawing += state.screen.print(lines.map { "\(time.rendered)  \($0.rendered)" })
            }
            let status = [state.conversation.status(now: now), state.transfers.status(now: now)].compactMap(\.self)
            drawing += state.screen.show(status: status.isEmpty ? nil : status.joined(separator: " · "))
            if !drawing.isEmpty { output.append(drawing) }
        }
    }

    /// The time of the day, as people read it.
    private static func time() -> String {
        var now = Foundation.time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        return String(format: "%02d:%02d", parts.tm_hour, parts.tm_min)
    }

    // MARK: Input

    /// Takes keys, and returns the lines that are complete; nil at the end of input.
    func typed(_ bytes: ArraySlice<UInt8>) -> [String]? {
        state.withLock { state in
            var lines: [String] = []
            var hasEnded = false
            for event in state.editor.receive(bytes) {
                switch event {
                case .line(let line): lines.append(line)
                case .clearScreen: output.append(state.screen.clear())
                case .endOfInput: hasEnded = true
                case .changed: break
                }
            }
            if !state.isClosed { drawInput(&state) }
            return hasEnded ? nil : lines
        }
    }

    /// Draws the line that is being typed: at the start, and after the process was stopped.
    func drawInput() {
        mode.apply()
        state.withLock { drawInput(&$0) }
    }

    private func drawInput(_ state: inout State) {
        state.screen.width = TerminalMode.width
        output.append(
            state.screen.show(
                prompt: Self.prompt, text: state.editor.text.map(Self.visible), cursor: state.editor.cursor))
    }

    /// Pasted text may have characters that a terminal would obey.
    private static func visible(_ character: Character) -> Character {
        let text = VisibleText.escaping(String(character))
        return text.count == 1 ? text[text.startIndex] : "\u{FFFD}"
    }

    /// The participant that is meant by the beginning of `text`, and the rest of it. Names may contain spaces.
    func receiver(in text: Substring) -> (ParticipantID, Substring)? {
        state.withLock { state in
            let conversation = state.conversation
            for name in conversation.names where text.hasPrefix(name) {
                let rest = text.dropFirst(name.count)
                if rest.isEmpty || rest.first == " ", let id = conversation.participant(named: name) {
                    return (id, rest.drop { $0 == " " })
                }
            }
            let word = text.prefix { $0 != " " }
            guard !word.isEmpty, let id = conversation.participant(named: String(word)) else { return nil }
            return (id, text.dropFirst(word.count).drop { $0 == " " })
        }
    }
}
