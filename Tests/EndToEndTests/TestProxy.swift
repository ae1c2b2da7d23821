import Foundation
import Testing
import TransportPluginAPI
import TransportTestKit

/// Forwards between clients and a server on 127.0.0.1, and makes connections half-open: sent bytes are accepted and
/// lost, nothing arrives, and neither side notices.
///
/// SAFETY of `@unchecked Sendable`: `state` is behind its lock, `pairs` is touched only by the thread, the rest is
/// constant.
final class TestProxy: @unchecked Sendable {
    private struct Pair {
        let client: Int32
        let server: Int32
        var isCut = false
        /// Whether one side has closed without the other's knowledge.
        var hasEnded = false
    }

    private struct State {
        /// Whether to cut the open connections at the thread's next turn.
        var mustCut = false
        var takesNew = true
        var mustRestore = false
        var isStopped = false
        var target: UInt16
        /// Whether to break the open connections.
        var mustBreak = false
    }

    var port: UInt16 { listener.port }
    private let listener: LoopbackListener
    private let wakeup: (read: Int32, write: Int32)
    private let state: Locked<State>
    private var pairs: [Pair] = []

    init(to target: Int) throws {
        state = Locked(State(target: try #require(UInt16(exactly: target))))
        listener = try LoopbackListener()
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        wakeup = (ends[0], ends[1])
        let thread = Thread { self.run() }
        thread.name = "proxy"
        thread.start()
    }

    var url: String { "ws://127.0.0.1:\(port)/" }

    /// Makes the existing connections half-open.
    ///
    /// - Parameter newToo: Whether new connections get no answer either.
    func cut(newToo: Bool = false) {
        change {
            $0.mustCut = true
            $0.takesNew = !newToo
        }
    }

    /// Accepts new connections again, and breaks the half-open ones, as TCP connections that have lost data must.
    func restore() {
        change {
            $0.mustRestore = true
            $0.takesNew = true
        }
    }

    /// Breaks the open connections, and forwards new ones to another server.
    func move(to target: Int) throws {
        let target = try #require(UInt16(exactly: target))
        change {
            $0.target = target
            $0.mustBreak = true
        }
    }

    func stop() { change { $0.isStopped = true } }

    private func change(_ change: (inout State) -> Void) {
        state.withLock { change(&$0) }
        var byte: UInt8 = 1
        _ = write(wakeup.write, &byte, 1)
    }

    private func run() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let now = state.withLock { state in
                defer {
                    state.mustCut = false
                    state.mustRestore = false
                    state.mustBreak = false
                }
                return state
            }
            if now.isStopped { break }
            if now.mustCut { for index in pairs.indices { pairs[index].isCut = true } }
            if now.mustRestore { close { $0.isCut } }
            if now.mustBreak { close { _ in true } }
            var polls = [pollfd(fd: wakeup.read, events: Int16(POLLIN), revents: 0)]
            polls.append(pollfd(fd: now.takesNew ? listener.descriptor : -1, events: Int16(POLLIN), revents: 0))
            for pair in pairs {
                for descriptor in [pair.client, pair.server] {
                    polls.append(pollfd(fd: pair.hasEnded ? -1 : descriptor, events: Int16(POLLIN), revents: 0))
                }
            }
            guard poll(&polls, nfds_t(polls.count), -1) > 0 else { continue }
            if polls[0].revents != 0 { _ = read(wakeup.read, &buffer, buffer.count) }
            for index in pairs.indices {
                if polls[2 + 2 * index].revents != 0 { forward(index, fromClient: true, &buffer) }
                if polls[3 + 2 * index].revents != 0 { forward(index, fromClient: false, &buffer) }
            }
            close { $0.hasEnded && !$0.isCut }
            if polls[1].revents != 0 { take(to: now.target) }
        }
        close { _ in true }
        for descriptor in [listener.descriptor, wakeup.read, wakeup.write] { Glibc.close(descriptor) }
    }

    private func forward(_ index: Int, fromClient: Bool, _ buffer: inout [UInt8]) {
        let pair = pairs[index]
        let count = recv(fromClient ? pair.client : pair.server, &buffer, buffer.count, 0)
        guard count > 0 else { return pairs[index].hasEnded = true }
        guard !pair.isCut else { return }
        if send(fromClient ? pair.server : pair.client, &buffer, count, Int32(MSG_NOSIGNAL)) != count {
            pairs[index].hasEnded = true
        }
    }

    private func take(to target: UInt16) {
        let client = accept(listener.descriptor, nil, nil)
        guard client >= 0 else { return }
        let server = LoopbackListener.socket()
        let status = LoopbackListener.connect(server, to: target)
        pairs.append(Pair(client: client, server: server, hasEnded: status != 0))
        close { $0.hasEnded && !$0.isCut }
    }

    private func close(where isOver: (Pair) -> Bool) {
        for pair in pairs where isOver(pair) {
            Glibc.close(pair.client)
            Glibc.close(pair.server)
        }
        pairs.removeAll(where: isOver)
    }
}
