package import RoomConnection
package import RoomProtocol
package import TransportPluginAPI

/// The public `Room` with reliable delivery, as applications use it.
package final class RoomSubject: BenchmarkSubject {
    let room: Room
    let peer: ParticipantID
    private let consumer = Locked<Task<Void, any Error>?>(nil)
    private let handler = Locked<RequestHandler?>(nil)

    package init(room: Room, peer: ParticipantID) {
        self.room = room
        self.peer = peer
    }

    package func setHandler(_ handler: @escaping Handler) async {
        await room.onMessage { message in message.withUnsafeBytes(handler) }
    }

    package func reply(_ bytes: UnsafeRawBufferPointer) { try? room.trySend(bytes.bytes, to: peer) }

    package func send(_ bytes: UnsafeRawBufferPointer) async throws { try await room.send(bytes.bytes, to: peer) }

    package func flood(
        _ bytes: UnsafeRawBufferPointer, as form: BenchmarkForm, until end: Timestamp
    ) async throws -> Int {
        let array = Array(bytes)
        let payload = Payload(array)
        var sent = 0
        repeat {
            switch form {
            case .array: for _ in 0..<32 { try await room.send(array, to: peer) }
            case .payload: for _ in 0..<32 { try await room.send(payload, to: peer) }
            case .span: for _ in 0..<32 { try await room.send(bytes.bytes, to: peer) }
            }
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

    package func answerRequests(onLoop: Bool) throws {
        handler.withLock { $0 }?.remove()
        let new = try room.handle("echo", on: onLoop ? room.executor : nil) { body, _ in body }
        handler.withLock { $0 = new }
    }

    package func request(
        _ count: Int, onLoop: Bool, _ record: @escaping @Sendable (Duration) -> Void
    ) async throws {
        let task = Task(executorPreference: onLoop ? room.executor : nil) { [room, peer] in
            let body = Payload([UInt8](repeating: 1, count: 64))
            for _ in 0..<count {
                let start = Timestamp.now()
                _ = try await room.request("echo", body, to: peer)
                record(.now() - start)
            }
        }
        try await task.value
    }
}
