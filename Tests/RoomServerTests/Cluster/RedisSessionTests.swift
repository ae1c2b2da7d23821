import Testing
import TransportValues

@testable import RoomServer

@Suite struct RedisSessionTests {
    private typealias Action = RedisSession.Action

    private func time(_ milliseconds: Int) -> Timestamp { .zero + .milliseconds(milliseconds) }

    private func receive(_ text: String, _ session: inout RedisSession) -> [Action] {
        Array(text.utf8).withUnsafeBytes { session.received($0) }
    }

    private func command(_ words: String) -> Action {
        .write(RESPWriter.command(words.split(separator: " ").map { Array($0.utf8) }))
    }

    private func session(
        _ partner: RedisSession.Partner = .server, user: String? = nil, password: String? = nil, database: Int = 0
    ) -> RedisSession {
        var session = RedisSession(
            with: partner, login: .init(user: user, password: password, database: database), loginTimeout: .seconds(1))
        session.connected(at: time(0))
        return session
    }

    private func ready() -> RedisSession {
        var session = session()
        _ = session.opened()
        _ = receive("%1\r\n+server\r\n+redis\r\n", &session)
        _ = receive("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", &session)
        #expect(receive("+PONG\r\n", &session) == [.ready])
        return session
    }

    @Test func loginAsksForTheRoleAndAnAnswerBeforeItIsReady() {
        var session = session(user: "me", password: "pw", database: 2)
        #expect(session.opened() == [command("HELLO 3 AUTH me pw SETNAME room")])
        #expect(receive("%0\r\n", &session) == [command("SELECT 2")])
        #expect(receive("+OK\r\n", &session) == [command("ROLE")])
        #expect(receive("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", &session) == [command("PING")])
        #expect(receive("+PONG\r\n", &session) == [.ready])
    }

    @Test func oldServerIsAskedWithTheOldCommands() {
        var session = session(password: "pw")
        _ = session.opened()
        #expect(receive("-ERR unknown command `HELLO`\r\n", &session) == [command("AUTH pw")])
        #expect(receive("+OK\r\n", &session) == [command("ROLE")])
    }

    @Test func replicaAndServerThatLoadsItsDataAreLeft() {
        var replica = session()
        _ = replica.opened()
        _ = receive("%0\r\n", &replica)
        #expect(receive("*5\r\n$5\r\nslave\r\n+h\r\n:1\r\n+connected\r\n:9\r\n", &replica) == [.end("it is a replica")])
        var loading = session()
        _ = loading.opened()
        _ = receive("%0\r\n*1\r\n$6\r\nmaster\r\n", &loading)
        #expect(receive("-LOADING wait\r\n", &loading) == [.end("it refused the login: LOADING")])
    }

    /// The text of such an error repeats the arguments of the command.
    @Test func reasonOfARefusedLoginRepeatsNothingOfIt() {
        for answer in ["-WRONGPASS me pw\r\n", "-NOAUTH pw\r\n", "-ODD with args 'pw'\r\n"] {
            var session = session(password: "pw")
            _ = session.opened()
            guard case .end(let reason)? = receive(answer, &session).first else {
                Issue.record("not ended")
                continue
            }
            #expect(!reason.contains("pw"))
        }
    }

    @Test func repliesBelongToCommandsInTheirOrder() {
        var session = ready()
        #expect(session.submit(1, [Array("A".utf8)], deadline: time(500)) == [command("A")])
        #expect(session.submit(2, [Array("B".utf8)], deadline: time(600)) == [command("B")])
        #expect(session.nextDeadline == time(500))
        let actions = receive(":1\r\n>1\r\n+push\r\n-ERR no\r\n", &session)
        #expect(actions == [.settle(1, .success(.integer(1))), .settle(2, .failure(.refused("ERR no")))])
        #expect(session.nextDeadline == nil)
        #expect(receive(":3\r\n", &session) == [.end("it sent a reply to nothing")])
    }

    @Test func lateReplyEndsTheConnectionAndEverythingThatWaits() {
        var session = ready()
        _ = session.submit(1, [Array("A".utf8)], deadline: time(500))
        _ = session.submit(2, [Array("B".utf8)], deadline: time(900))
        #expect(session.timePassed(to: time(499)) == [])
        let reason = "it did not answer in time"
        #expect(
            session.timePassed(to: time(500)) == [
                .settle(1, .failure(.timedOut)), .settle(2, .failure(.lost(reason))), .end(reason),
            ])
        #expect(session.submit(3, [Array("C".utf8)], deadline: time(900)) == [.settle(3, .failure(.notConnected))])
        #expect(session.closed("again") == [])
    }

    @Test func unknownScriptIsSentWhole() {
        var session = ready()
        let whole = [Array("EVAL".utf8), Array("return".utf8)]
        _ = session.submit(7, [Array("EVALSHA".utf8)], script: whole, deadline: time(500))
        #expect(receive("-NOSCRIPT No matching script\r\n", &session) == [command("EVAL return")])
        #expect(receive("+yes\r\n", &session) == [.settle(7, .success(.string(Array("yes".utf8))))])
        _ = session.submit(8, [Array("EVALSHA".utf8)], script: whole, deadline: time(500))
        _ = receive("-NOSCRIPT\r\n", &session)
        #expect(receive("-NOSCRIPT\r\n", &session) == [.settle(8, .failure(.refused("NOSCRIPT")))])
    }

    @Test(arguments: [
        "READONLY You can't write", "LOADING", "MASTERDOWN Link", "CLUSTERDOWN", "MOVED 1 h:1",
        "ERR Error running script: -READONLY You can't write",
    ])
    func demotedServerIsLeftAndTheCommandIsNotRefused(_ text: String) {
        var session = ready()
        _ = session.submit(1, [Array("A".utf8)], deadline: time(500))
        let actions = receive("-\(text)\r\n", &session)
        #expect(actions.first == .settle(1, .failure(.lost(text))))
        guard case .end? = actions.last else { return #expect(Bool(false), "not ended") }
    }

    @Test func commandsOverTheLimitFailAtOnce() {
        var session = ready()
        for id in 1...RedisSession.maximumPending {
            _ = session.submit(UInt64(id), [Array("A".utf8)], deadline: time(500))
        }
        #expect(
            session.submit(9999, [Array("A".utf8)], deadline: time(500)) == [.settle(9999, .failure(.overloaded))])
    }

    @Test func handshakeThatNeverEndsIsEnded() {
        var session = session()
        #expect(session.nextDeadline == time(1000))
        #expect(session.timePassed(to: time(1000)) == [.end("the login took too long")])
        #expect(session.opened() == [])
    }

    @Test func sentinelNamesTheMaster() {
        var session = session(.sentinel(master: "main"), password: "pw")
        #expect(session.opened() == [command("AUTH pw")])
        let question = command("SENTINEL get-master-addr-by-name main")
        #expect(receive("-ERR AUTH called without any password configured\r\n", &session) == [question])
        #expect(
            receive("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n7001\r\n", &session) == [
                .foundMaster(.init(name: "127.0.0.1", port: 7001)), .end("it has answered"),
            ])
        var other = self.session(.sentinel(master: "main"))
        #expect(other.opened() == [question])
        #expect(receive("*-1\r\n", &other) == [.end("it does not know the master by this name")])
    }
}
