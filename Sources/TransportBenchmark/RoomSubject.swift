package import RoomConnection
package import RoomProtocol
package import TransportPluginAPI

/// The public `Room` with reliable delivery, as applications use it.
package final class RoomSubject: BenchmarkSubject {
    let room: Room
    let peer: ParticipantID
    private let consumer = Locked<Task<Void, any Error>?>(nil)

    package init(room: Room, peer: ParticipantID) {
        self.room = room
        self.peer = peer
    }

    package func setHandler(_ handler: @escaping Handler) async {
        await room.onMessage { message in message.withUnsafeBytes(handler) }
    }

    package func reply(_ bytes: UnsafeRawBufferPointer) { try? room.trySend(bytes.bytes, to: peer) }

    package func send(_ bytes: UnsafeRawBufferPointer) async throws { try await room.send(bytes.bytes, to: peer) }

    /// As an application sends: from an array.
    package func flood(_ bytes: UnsafeRawBufferPointer, until end: Timestamp) async throws -> Int {
        let message = Array(bytes)
        var sent = 0
        repeat {
            for _ in 0..<32 { try await room.send(message, to: peer) }
            sent += 32
        } while Timestamp.now() < end
        return sent
    }

    package func flush() async throws { try await room.flush() }

    package func consume(onLoop: Bool, _ body: @escaping @Sendable (Payload) async throws -> Void) async throws {
        await room.clearMessageHandler()
        consumer.withLock { $0 }?.cancel()
        let task = Task(executorPreference: onLoop ? room.executor : nil) { [room] in
            for await message in room.messages() { try await body(message.payload) }
        }
        consumer.withLock { $0 = task }
    }
}
