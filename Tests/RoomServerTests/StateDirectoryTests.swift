import Foundation
import Logging
import Testing
import TransportValues

@testable import RoomServer

@Suite("Where a server keeps its session key")
struct StateDirectoryTests {
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    @Test func systemdComesBeforeXDGAndXDGBeforeTheHomeDirectory() {
        let home = ["HOME": "/home/ann"]
        let xdg = home.merging(["XDG_STATE_HOME": "/state"]) { $1 }
        #expect(StateDirectory.path(home) == "/home/ann/.local/state/room")
        #expect(StateDirectory.path(xdg) == "/state/room")
        #expect(StateDirectory.path(xdg.merging(["STATE_DIRECTORY": "/var/a:/var/b"]) { $1 }) == "/var/a")
    }

    @Test func relativePathsAreIgnored() {
        #expect(
            StateDirectory.path(["STATE_DIRECTORY": "a", "XDG_STATE_HOME": "b", "HOME": "/c"]) == "/c/.local/state/room"
        )
        #expect(StateDirectory.path(["HOME": "c"]) == nil)
    }

    @Test func aKeyIsMadeOnceAndKept() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "state-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        let environment = ["STATE_DIRECTORY": root.appending(path: "deep/down").path]
        let first = try RoomServerConfiguration.SessionKey.persistent(in: environment, logger).load(logger)
        let second = try RoomServerConfiguration.SessionKey.persistent(in: environment, logger).load(logger)
        #expect(first == second && first.count >= 32)
    }

    @Test func aFileInTheWayIsNamed() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "state-\(UUID().uuidString)")
        try Data().write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let error = #expect(throws: RoomServerError.self) {
            try RoomServerConfiguration.SessionKey.persistent(in: ["STATE_DIRECTORY": file.path], logger)
        }
        #expect(error?.message.contains(file.path) == true)
    }

    @Test func urlsThatBrowsersRefuseAreNotHandedOut() {
        #expect(RoomServerConfiguration.ICE.fault(of: "stun:relay.example:3478", [.stun, .stuns]) == nil)
        #expect(RoomServerConfiguration.ICE.fault(of: "turn:relay.example:3478?transport=udp", [.turn, .turns]) == nil)
        #expect(
            RoomServerConfiguration.ICE.fault(of: "turn:relay.example", [.stun, .stuns])?.contains("stun: or stuns:")
                == true)
        #expect(
            RoomServerConfiguration.ICE.fault(of: "stun:relay.example?transport=udp", [.stun])?.contains("'?'") == true)
    }
}
