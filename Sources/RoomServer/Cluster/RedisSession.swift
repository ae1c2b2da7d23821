internal import TransportValues

/// The reason why a command has no reply.
enum RedisFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// There is no connection. The command was not sent.
    case notConnected
    /// Too many commands wait for replies. The command was not sent.
    case overloaded
    /// The connection ended before the reply. The command may have been performed.
    case lost(String)
    /// The reply did not arrive in time. The command may have been performed.
    case timedOut
    /// The server refused the command.
    case refused(String)

    var description: String {
        switch self {
        case .notConnected: "there is no connection to Redis"
        case .overloaded: "too many commands wait for Redis"
        case .lost(let reason): "the connection to Redis was lost: \(reason)"
        case .timedOut: "Redis did not answer in time"
        case .refused(let text): "Redis refused a command: \(text)"
        }
    }
}

/// The decisions of one connection to Redis or a Sentinel: the login, the order of replies, deadlines.
///
/// Can transition: idle → opening (`connected`) → login (`opened`) → ready (the server is a master and answers) →
/// ended; any → ended. A Sentinel is asked for the master's address in place of its role, and the connection ends with
/// its answer.
struct RedisSession: Sendable {
    typealias CommandID = UInt64

    enum Action: Sendable, Hashable {
        case write([UInt8])
        /// Commands can be sent.
        case ready
        case settle(CommandID, Result<RESPValue, RedisFailure>)
        /// A Sentinel has named the master.
        case foundMaster(RedisURL.Host)
        /// Close the socket. Nothing follows.
        case end(String)
    }

    enum Partner: Sendable, Hashable {
        case server
        /// A Sentinel, which is asked for the address of the master with this name.
        case sentinel(master: String)
    }

    struct Login: Sendable, Hashable {
        var user: String?
        var password: String?
        var database = 0
        /// The name of the connection in the server's list.
        var name = "room"
    }

    private enum Step: Sendable {
        case hello
        case authentication
        case database
        case role
        case ping
        case masterAddress
        /// With the command that is sent when the server does not know the script.
        case command(CommandID, script: [UInt8]?)
    }

    private struct Pending: Sendable {
        var step: Step
        var deadline: Timestamp
    }

    private enum State { case idle, opening, login, ready, ended }

    /// Commands without a reply.
    static let maximumPending = 4096

    private let partner: Partner
    private let login: Login
    private let loginTimeout: Duration
    private var state = State.idle
    private var loginDeadline = Timestamp.distantFuture
    private var pending: [Pending] = []
    private var parser = RESPParser()

    init(with partner: Partner, login: Login, loginTimeout: Duration) {
        self.partner = partner
        self.login = login
        self.loginTimeout = loginTimeout
    }

    /// The time at which `timePassed` must be called.
    var nextDeadline: Timestamp? {
        switch state {
        case .idle, .ended: nil
        case .opening, .login: loginDeadline
        case .ready: pending.map(\.deadline).min()
        }
    }

    // MARK: Events

    /// The socket is connected. The time for TLS, if there is any, and the login begins.
    mutating func connected(at now: Timestamp) {
        guard state == .idle else { return }
        state = .opening
        loginDeadline = now + loginTimeout
    }

    /// Data can be sent.
    mutating func opened() -> [Action] {
        guard state == .opening else { return [] }
        state = .login
        guard case .sentinel = partner else { return [send(.hello)] }
        return [send(login.password == nil ? .masterAddress : .authentication)]
    }

    /// Sends a command. `script` is the whole one where `command` only names it by its hash.
    mutating func submit(
        _ id: CommandID, _ command: [[UInt8]], script: [[UInt8]]? = nil, deadline: Timestamp
    ) -> [Action] {
        guard state == .ready else { return [.settle(id, .failure(.notConnected))] }
        guard pending.count < Self.maximumPending else { return [.settle(id, .failure(.overloaded))] }
        pending.append(Pending(step: .command(id, script: script.map(RESPWriter.command)), deadline: deadline))
        return [.write(RESPWriter.command(command))]
    }

    mutating func received(_ bytes: UnsafeRawBufferPointer) -> [Action] {
        var rest = bytes
        var actions: [Action] = []
        do throws(RESPViolation) {
            while state != .ended, let value = try parser.next(&rest) { actions += handle(value) }
        } catch {
            actions += end("it sent something that is no reply: \(error)")
        }
        return actions
    }

    mutating func timePassed(to now: Timestamp) -> [Action] {
        switch state {
        case .idle, .ended: return []
        case .opening, .login: return loginDeadline <= now ? end("the login took too long") : []
        case .ready:
            // Replies come in order: one that is late holds up all others.
            guard pending.contains(where: { $0.deadline <= now }) else { return [] }
            var actions: [Action] = []
            pending.removeAll { pending in
                guard pending.deadline <= now, case .command(let id, _) = pending.step else { return false }
                actions.append(.settle(id, .failure(.timedOut)))
                return true
            }
            return actions + end("it did not answer in time")
        }
    }

    /// The socket has closed, or is closed with this reason.
    mutating func closed(_ reason: String) -> [Action] { state == .ended ? [] : end(reason) }

    // MARK: Replies

    private mutating func handle(_ value: RESPValue) -> [Action] {
        if case .push = value { return [] }
        guard !pending.isEmpty else { return end("it sent a reply to nothing") }
        let first = pending.removeFirst()
        guard case .command(let id, let script) = first.step else { return handleLogin(value, first.step) }
        guard case .error(let text) = value else { return [.settle(id, .success(value))] }
        if let script, text.hasPrefix("NOSCRIPT") {
            pending.append(Pending(step: .command(id, script: nil), deadline: first.deadline))
            return [.write(script)]
        }
        guard !Self.meansWrongServer(text) else {
            return [.settle(id, .failure(.lost(text)))] + end("it cannot perform commands: \(Self.code(of: text))")
        }
        return [.settle(id, .failure(.refused(text)))]
    }

    /// Whether the command may succeed at the server to which a new connection leads.
    private static func meansWrongServer(_ text: String) -> Bool {
        ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED"].contains(code(of: text))
            || text.contains("-READONLY ")
    }

    /// The first word of an error. The rest may repeat the command, and with it a password.
    private static func code(of text: String) -> String { String(text.prefix { $0 != " " }) }

    private mutating func handleLogin(_ value: RESPValue, _ step: Step) -> [Action] {
        switch (step, value) {
        // Before Redis 6.
        case (.hello, .error(let text)) where ["ERR", "NOPROTO"].contains(Self.code(of: text)):
            return [send(login.password != nil ? .authentication : login.database != 0 ? .database : .role)]
        // A Sentinel that has no password refuses every one.
        case (.authentication, .error) where partner != .server: return [send(.masterAddress)]
        case (_, .error(let text)):
            switch Self.code(of: text) {
            case "NOAUTH": return end("it needs a password")
            case "WRONGPASS": return end("it refused the user or the password")
            case let code: return end("it refused the login: \(code)")
            }
        case (.hello, _), (.authentication, _):
            if partner != .server { return [send(.masterAddress)] }
            return [send(login.database != 0 ? .database : .role)]
        case (.database, _): return [send(.role)]
        case (.role, .array(let parts)) where parts.first?.text == "master": return [send(.ping)]
        case (.role, _): return end("it is a replica")
        case (.ping, _):
            state = .ready
            return [.ready]
        case (.masterAddress, .array(let parts)):
            guard parts.count == 2, let name = parts[0].text, let port = parts[1].integer, 1...65_535 ~= port else {
                return end("it named no address of the master")
            }
            return [.foundMaster(.init(name: name, port: Int(port)))] + end("it has answered")
        case (.masterAddress, _): return end("it does not know the master by this name")
        case (.command, _): return []
        }
    }

    private mutating func send(_ step: Step) -> Action {
        pending.append(Pending(step: step, deadline: loginDeadline))
        switch step {
        case .hello:
            var command = ["HELLO", "3"]
            if let password = login.password { command += ["AUTH", login.user ?? "default", password] }
            return .write(RESPWriter.command((command + ["SETNAME", login.name]).map { Array($0.utf8) }))
        case .authentication:
            let command = ["AUTH"] + [login.user, login.password].compactMap { $0 }
            return .write(RESPWriter.command(command.map { Array($0.utf8) }))
        case .database: return .write(RESPWriter.command("SELECT", String(login.database)))
        case .role: return .write(RESPWriter.command("ROLE"))
        case .ping, .command: return .write(RESPWriter.command("PING"))
        case .masterAddress:
            guard case .sentinel(let name) = partner else { return .write(RESPWriter.command("PING")) }
            return .write(RESPWriter.command("SENTINEL", "get-master-addr-by-name", name))
        }
    }

    private mutating func end(_ reason: String) -> [Action] {
        state = .ended
        let lost = pending
        pending = []
        return lost.compactMap { pending in
            guard case .command(let id, _) = pending.step else { return nil }
            return .settle(id, .failure(.lost(reason)))
        } + [.end(reason)]
    }
}
