import RoomKit

// The code of "Streams", as it stands there.

actor Archive {
    private(set) var bytes: [UInt8] = []

    func append(_ chunk: Payload) { chunk.withUnsafeBytes { bytes.append(contentsOf: $0) } }
}

func sending(_ room: Room, rows: String, archive: RoomParticipant) async throws {
    let stream = try await room.openStream(
        "measurements.csv", to: archive, length: UInt64(rows.utf8.count), metadata: ["sensor": "outside"])
    try await stream.write(rows)
    try await stream.finish()
}

func receiving(_ room: Room, file: Archive) async {
    for await stream in room.incomingStreams() {
        print("\(stream.name) from \(stream.from), \(stream.length ?? 0) bytes")
        do {
            for try await chunk in stream { await file.append(chunk) }
        } catch {
            print("\(stream.name) ends early: \(error)")
        }
    }
}

func showingProgress(
    _ stream: RoomOutgoingStream, _ source: AsyncStream<Payload>, total: Int
) async throws {
    async let showing: Void = {
        for await count in stream.progress { print("\(count) of \(total) bytes") }
    }()
    for await chunk in source { try await stream.write(chunk) }
    try await stream.finish()
    await showing
}

func givingUp(_ stream: RoomOutgoingStream) {
    stream.cancel("the disk is full", code: "no_space")
}

func streamsProgram() async {
    await TransportRuntime.main(try RoomConfiguration(server: "ws://127.0.0.1:8080/")) { runtime in
        if CommandLine.arguments.contains("archive") {
            let room = try await runtime.connect(toRoom: "measurements", as: "archive", host: true)
            for await stream in room.incomingStreams() {
                do {
                    for try await chunk in stream { print("\(chunk.count) bytes of \(stream.name)") }
                } catch {
                    print("\(stream.name) ends early: \(error)")
                }
            }
        } else {
            let room = try await runtime.connect(toRoom: "measurements", as: "sensor", host: .awaited)
            for archive in room.participants where archive.name == "archive" {
                let stream = try await room.openStream("measurements.csv", to: archive)
                for number in 1...1000 { try await stream.write("\(number),21.5\n") }
                try await stream.finish()
            }
        }
    }
}
