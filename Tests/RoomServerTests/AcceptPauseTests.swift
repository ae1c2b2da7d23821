import Glibc
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import RoomServer

@Suite("Out of descriptors", .timeLimit(.minutes(1)))
struct AcceptPauseTests {
    private final class Warnings: LogHandler, @unchecked Sendable {
        // SAFETY: used on the loop of the channel only.
        var count = 0
        var metadata = Logger.Metadata()
        var logLevel = Logger.Level.warning

        func log(event: LogEvent) { count += 1 }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
    }

    /// The accept loop stops for a while with each failure, and the log has one line for all of them.
    @Test func theServerWaitsSaysItOnceAndGoesOn() async throws {
        let warnings = Warnings()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptPause(Logger(label: "test") { _ in warnings })
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        @Sendable func isAccepting() throws -> Bool? { try channel.syncOptions?.getOption(.autoRead) }
        for _ in 0..<2 {
            let paused = try await channel.eventLoop.submit {
                for _ in 0..<3 { channel.pipeline.fireErrorCaught(IOError(errnoCode: EMFILE, reason: "accept")) }
                return try isAccepting()
            }.get()
            #expect(paused == false)
            // Due right behind the end of the pause.
            let after = channel.eventLoop.scheduleTask(in: AcceptPause.pause + .milliseconds(1), isAccepting)
            #expect(try await after.futureResult.get() == true)
        }
        #expect(try await channel.eventLoop.submit { warnings.count }.get() == 1)
        try await channel.close()
    }
}
