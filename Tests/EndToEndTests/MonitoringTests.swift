import Foundation
import Testing
import TransportTestKit

/// The metrics of `room serve`, and its record of what operators have done.
@Suite(.serialized, .timeLimit(.minutes(2))) struct MonitoringTests {
    /// Returns the answer to a GET, or an empty one.
    private func get(_ path: String, port: Int) async -> (head: String, body: String) {
        let text = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: Self.answer(path, UInt16(port))) }
        }
        guard let end = text.range(of: "\r\n\r\n") else { return ("", "") }
        return (String(text[..<end.lowerBound]), String(text[end.upperBound...]))
    }

    private static func answer(_ path: String, _ port: UInt16) -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let request = Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
        guard isConnected, send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            return ""
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while case let count = recv(descriptor, &chunk, chunk.count, 0), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func metricsAreOnBothAddressesInTheFormatOfPrometheus() async throws {
        try await withProcesses { processes in
            let server = processes.add(
                try RoomProcess(
                    "server",
                    [
                        "serve", "--port", "0", "--session-key-file", "none", "--metrics", "--admin-port", "0",
                        "--admin-token-file", processes.directory.path + "/admin.token",
                    ]))
            let (_, port) = try await server.listening()
            let admin = try #require(server.lines.first?["admin"] as? String)
            for port in [port, try #require(URL(string: admin)?.port)] {
                let (head, body) = await get("/metrics", port: port)
                #expect(head.hasPrefix("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"))
                #expect(body.contains("\nroom_server_rooms 0\n"))
                for line in body.split(separator: "\n") {
                    let isValid =
                        line.wholeMatch(of: /# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))/) != nil
                        || line.wholeMatch(of: /[a-z_]+(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? [0-9.e+-]+/)
                            != nil
                    #expect(isValid, "\(line)")
                }
                let file = try processes.file("metrics.txt", body)
                let check = try await Shell.run(
                    "command -v promtool >/dev/null || exit 0; exec promtool check metrics <'\(file)'")
                #expect(check.status == 0, "\(check.output)\(check.errors)")
            }
            #expect(await get("/livez", port: port).head.hasPrefix("HTTP/1.1 200 "))
        }
    }

    /// At the level that the command has by itself, through its own log.
    @Test(arguments: ["text", "json"]) func whatAnOperatorDoesIsInTheLog(_ format: String) async throws {
        try await withProcesses { processes in
            let folder = processes.directory.path
            let run = try await Shell.run(
                """
                "$ROOM" serve --port 0 --session-key-file none --log-format \(format) --admin-socket '\(folder)/admin' \
                    >'\(folder)/out' 2>'\(folder)/log' &
                until grep -q listening '\(folder)/out'; do kill -0 $! || exit 9; done
                "$ROOM" admin close nowhere --reason late --admin '\(folder)/admin' 2>/dev/null
                "$ROOM" admin drain --deadline 1 --admin '\(folder)/admin' >/dev/null
                wait $!
                """)
            #expect(run.status == 0, "\(run.errors)")
            let log = try String(contentsOfFile: folder + "/log", encoding: .utf8).split(separator: "\n")
            let lines = log.filter { $0.contains(format == "json" ? #""source":"audit""# : "[audit]") }
            #expect(lines.count == 2, "\(log)")
            let user = "unix (user \(getuid()), process "
            #expect(lines.allSatisfy { $0.contains(user) })
            for word in ["close", "nowhere", "late", "room_not_found"] {
                #expect(lines.first?.contains(word) == true, "\(word)")
            }
            #expect(lines.last?.contains("drain") == true && lines.last?.contains("done") == true)
        }
    }
}
