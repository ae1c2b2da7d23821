import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI
import TransportTestKit

/// `room serve` under a service manager: what it tells, the socket that it is given, and SIGHUP.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ServiceTests {
    private static let serve = "exec \"$ROOM\" serve --port 0 --session-key-file none"

    @Test(arguments: [false, true])
    func theServiceManagerIsToldAboutStartReloadAndEnd(_ isAbstract: Bool) async throws {
        Foundation.signal(SIGHUP, SIG_DFL)
        try await withProcesses { processes in
            let manager = try NotifySocket(in: processes.directory, isAbstract: isAbstract)
            let server = try processes.service(Self.serve, ["NOTIFY_SOCKET": manager.name])
            let ready = try await manager.next { $0.hasPrefix("READY=1\n") }
            #expect(ready.contains("STATUS=Listening at ws://127.0.0.1:"))

            server.child.signal(SIGHUP)
            let reloading = try await manager.next { $0.hasPrefix("RELOADING=1\nMONOTONIC_USEC=") }
            let microseconds = try #require(reloading.split(separator: "=").last.flatMap { Int64($0) })
            #expect((0...60_000_000).contains(Timestamp.now().nanoseconds / 1000 - microseconds))
            #expect(try await manager.next { _ in true } == ready)

            server.child.signal(SIGTERM)
            let stopping = try await manager.next { $0.hasPrefix("STOPPING=1\n") }
            #expect(stopping.contains("\nEXTEND_TIMEOUT_USEC="))
            #expect(await server.exitStatus() == 0)
        }
    }

    @Test func theWatchdogGetsSignsOfLife() async throws {
        try await withProcesses { processes in
            let manager = try NotifySocket(in: processes.directory)
            let server = try processes.service(
                Self.serve, ["NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"])
            for _ in 1...3 { _ = try await manager.next { $0 == "WATCHDOG=1" } }
            // One that is for another process is not answered.
            server.child.signal(SIGINT)
            #expect(await server.exitStatus() == 130)
            let other = try NotifySocket(in: processes.directory, isAbstract: true)
            let second = try processes.service(
                Self.serve, ["NOTIFY_SOCKET": other.name, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"])
            _ = try await other.next { $0.hasPrefix("READY=1") }
            second.child.signal(SIGTERM)
            #expect(try await other.next { _ in true }.hasPrefix("STOPPING=1"))
        }
    }

    /// Connections that are opened while no server runs wait in the socket that the service manager keeps.
    @Test func anInheritedSocketRefusesNobodyBetweenTwoServers() async throws {
        let socket = try LoopbackListener()
        defer { close(socket.descriptor) }
        var clients = [try RawClient(port: socket.port)]
        for _ in 1...2 {
            // Its own address does not count.
            let server = try socket.serve("--host nowhere.invalid")
            for client in clients { #expect(try await client.status(of: "GET /health HTTP/1.1") == "200") }
            clients = []
            kill(server.processIdentifier, SIGTERM)
            server.waitUntilExit()
            #expect(server.terminationStatus == 0)
            clients = [try RawClient(port: socket.port), try RawClient(port: socket.port)]
        }
    }

    @Test func socketsThatAreForAnotherProcessAreNotTouched() async throws {
        try await withProcesses { processes in
            let server = try processes.service(Self.serve, ["LISTEN_PID": "1", "LISTEN_FDS": "1"])
            try await server.wait(event: "listening")
            // Two cannot be used, and a descriptor that is no listening socket cannot either.
            for (count, complaint) in [(2, "keep one ListenStream="), (1, "no TCP socket that listens")] {
                let errors = processes.directory.appendingPathComponent("errors").path
                let wrong = try processes.service(
                    "exec 3</dev/null 2>'\(errors)'; LISTEN_PID=$$ LISTEN_FDS=\(count) \(Self.serve)")
                #expect(await wrong.exitStatus() == 2)
                #expect(try String(contentsOfFile: errors, encoding: .utf8).contains(complaint))
            }
        }
    }

    @Test func aHangUpSignalReloadsOriginsAndTheLevelOfTheLog() async throws {
        Foundation.signal(SIGHUP, SIG_DFL)
        try await withProcesses { processes in
            let manager = try NotifySocket(in: processes.directory)
            let settings = try processes.file("room.yaml", "allowedOrigins: [https://one.example]\nlogLevel: error\n")
            let errors = processes.directory.appendingPathComponent("errors").path
            let server = try processes.service(
                "exec 2>'\(errors)'; \(Self.serve) --config '\(settings)'", ["NOTIFY_SOCKET": manager.name])
            let ready = try await manager.next { $0.hasPrefix("READY=1") }
            let port = try #require(ready.split(separator: ":").last.flatMap { UInt16($0.dropLast()) })
            func status(of origin: String) async throws -> String {
                try await RawClient(port: port).status(
                    of: """
                        GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r
                        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: \(origin)
                        """)
            }
            func reload(_ text: String) async throws {
                _ = try processes.file("room.yaml", text)
                server.child.signal(SIGHUP)
                _ = try await manager.next { $0.hasPrefix("RELOADING=1") }
                _ = try await manager.next { $0.hasPrefix("READY=1") }
            }
            #expect(try await status(of: "https://one.example") == "101")
            #expect(try await status(of: "https://two.example") == "403")
            try await reload("allowedOrigins: [https://two.example]\nlogLevel: notice\n")
            #expect(try await status(of: "https://one.example") == "403")
            #expect(try await status(of: "https://two.example") == "101")
            // A mistake is reported, and changes nothing.
            try await reload("allowedOrigins: [https://three.example]\nmistake: 1\n")
            #expect(try await status(of: "https://two.example") == "101")
            server.child.signal(SIGTERM)
            #expect(await server.exitStatus() == 0)
            let log = try String(contentsOfFile: errors, encoding: .utf8)
            #expect(log.contains("the settings were read again") && log.contains("there is no key 'mistake'"))
        }
    }
}

extension TestProcesses {
    /// Runs a shell command in which `$ROOM` is the executable.
    fileprivate func service(_ script: String, _ environment: [String: String] = [:]) throws -> RoomProcess {
        add(
            try RoomProcess(
                "server", ["-c", script], executable: "/bin/sh",
                environment: environment.merging(["ROOM": RoomProcess.room]) { $1 }))
    }
}

/// The socket of a service manager (sd_notify(3)).
private final class NotifySocket: Sendable {
    let name: String
    private let descriptor: Int32

    init(in folder: URL, isAbstract: Bool = false) throws {
        name = isAbstract ? "@room-\(UUID().uuidString)" : folder.appendingPathComponent("notify").path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(name.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        if isAbstract { address.sun_path.0 = 0 }
        let length = socklen_t(MemoryLayout.size(ofValue: address.sun_family) + path.count)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(status == 0)
    }

    deinit { close(descriptor) }

    /// Returns the next message that fulfils the condition; those before it are passed over.
    func next(_ isWanted: @escaping @Sendable (String) -> Bool) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { [self] in
                let end = Timestamp.now() + .seconds(20)
                var buffer = [UInt8](repeating: 0, count: 4096)
                while Timestamp.now() < end {
                    var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                    guard poll(&watched, 1, 200) > 0 else { continue }
                    let count = recv(descriptor, &buffer, buffer.count, 0)
                    let text = String(decoding: buffer[..<max(count, 0)], as: UTF8.self)
                    if isWanted(text) { return continuation.resume(returning: text) }
                }
                continuation.resume(throwing: Timeout(description: "the service manager was not told"))
            }
        }
    }
}

extension LoopbackListener {
    /// Runs a server that inherits the socket, as a service manager starts one.
    fileprivate func serve(_ arguments: String) throws -> Process {
        let server = Process()
        server.executableURL = URL(fileURLWithPath: "/bin/sh")
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$ROOM\" serve --session-key-file none "
        server.arguments = ["-c", script + arguments]
        server.environment = ProcessInfo.processInfo.environment.merging(["ROOM": RoomProcess.room]) { $1 }
        server.standardInput = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
        server.standardOutput = FileHandle.nullDevice
        try server.run()
        return server
    }
}

/// A client that sends one request and reads the beginning of the answer.
private final class RawClient: Sendable {
    private let descriptor = LoopbackListener.socket()

    init(port: UInt16) throws { try #require(LoopbackListener.connect(descriptor, to: port) == 0) }
    deinit { close(descriptor) }

    /// Returns the status of the answer; empty when the server has closed.
    func status(of request: String) async throws -> String {
        let bytes = Array((request + "\r\nHost: localhost\r\n\r\n").utf8)
        try #require(send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread { [self] in
                var buffer = [UInt8](repeating: 0, count: 12)
                let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_WAITALL))
                continuation.resume(returning: String(decoding: buffer[..<max(count, 0)].dropFirst(9), as: UTF8.self))
            }
        }
    }
}
