import RoomProtocol
import Testing
import TransportValues

@Suite("Every message comes back from its JSON as it was")
struct RoundTripTests {
    static let participant = Participant(
        id: ParticipantID("p-2"), session: SessionID("s_2"), epoch: 3, name: "bob \"the\" ünïcode 😀", isHost: true,
        metadata: ["colour": "blue\n\tgreen\\", "empty": ""],
        capabilities: [DeliveryProtocol.capability])

    static func signal(_ body: Signal.Body) -> Signal {
        Signal(
            peer: ParticipantID("p-2"), session: SessionID("s-2"), connection: PeerConnectionID("c-9"), negotiation: 4,
            body: body)
    }

    static let signals: [Signal] = [
        signal(.description(.init(kind: .offer, text: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"))),
        signal(.description(.init(kind: .answer, text: "v=0\r\n"))),
        signal(
            .candidate(
                .init(
                    text: "candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host", mediaID: "0", mediaLineIndex: 0,
                    usernameFragment: "abcd"))),
        signal(.candidate(.init(text: ""))),
        signal(.endOfCandidates(usernameFragment: "ab+/")),
        signal(.restartRequest(reason: "path lost")),
        signal(.rebuildRequest(reason: "")),
    ]

    static let clientMessages: [ClientMessage] =
        [
            .hello(Hello(room: RoomName("lobby"), role: .host, name: "ann")),
            .hello(
                Hello(
                    room: RoomName("räum 1"), role: .guest, name: "bob", metadata: ["a": "b"], token: "abc.def.ghi",
                    resume: Resume(sessionToken: "tok.en", received: 17, mustRejoin: true, attempt: 4),
                    capabilities: [DeliveryProtocol.capability, "x"])),
            .hello(Hello(room: RoomName("lobby"), role: .first, waitsForRoom: true, name: "cat")),
            .kick(ParticipantID("p-1"), reason: "spam"),
            .updateRoom(RoomAttributes()), .updateRoom(RoomAttributes(version: 3, values: ["map": "desert"])),
            .update(metadata: [:]), .update(metadata: ["k": "v", "l": ""]),
            .ack(received: .max), .ping(id: 0), .pong(id: .max), .leave,
            .closeRoom(reason: "over"),
        ] + signals.map(ClientMessage.signal)

    static let serverMessages: [ServerMessage] =
        [
            .joined(
                Joined(
                    participant: ParticipantID("p-1"), session: SessionID("s-1"), epoch: 2, isHost: false, hostTerm: 7,
                    isResumed: true, received: 5, sent: 12, sessionToken: "a.b", roster: [participant],
                    attributes: RoomAttributes(version: 2, values: ["map": "ice"]),
                    iceServers: ICEServerList(
                        servers: [
                            .init(urls: ["stun:stun.example.org:3478"]),
                            .init(
                                urls: ["turn:t.example.org", "turns:t.example.org"], username: "1:u", credential: "p="),
                        ], ttl: .seconds(600)),
                    pingInterval: .milliseconds(2500), pingDeadline: .microseconds(1), grace: .seconds(30))),
            .waiting(pingInterval: .seconds(5), pingDeadline: .milliseconds(2500)),
            .roomChanged(RoomAttributes(version: 9, values: ["map": "desert", "mode": ""])),
            .peerJoined(participant), .peerChanged(participant),
            .hostChanged(ParticipantID("p-2"), term: 8, sessionToken: "to.ken"),
            .iceServers(ICEServerList()),
            .ack(received: 3), .ping(id: 9), .pong(id: 9),
            .goingAway(retryAfter: .zero ... .milliseconds(1250)),
            .error(
                ProtocolError(
                    code: .nameTaken, message: "The name is taken.", isRetryable: true, isFatal: true,
                    retryAfter: .seconds(1) ... .seconds(2), sequence: 12)),
            .error(
                ProtocolError(
                    code: .replaced, message: "", isRetryable: false, isFatal: true, replacedBy: .participant)),
            .error(ProtocolError(code: .internalError, message: "", isRetryable: false, isFatal: false)),
        ] + signals.map(ServerMessage.signal)
        + LeaveReason.allCases.map { .peerLeft(ParticipantID("p-2"), SessionID("s-2"), reason: $0) }

    @Test(arguments: clientMessages)
    func clientMessageSurvives(_ message: ClientMessage) throws {
        for envelope in [Envelope(message), Envelope(sequence: 1, ack: 0, message), Envelope(sequence: .max, message)] {
            #expect(try RoomProtocolCodec.decodeClientMessage(RoomProtocolCodec.encode(envelope)) == envelope)
        }
    }

    @Test(arguments: serverMessages)
    func serverMessageSurvives(_ message: ServerMessage) throws {
        for envelope in [Envelope(message), Envelope(sequence: 1, ack: 0, message), Envelope(ack: .max, message)] {
            #expect(try RoomProtocolCodec.decodeServerMessage(RoomProtocolCodec.encode(envelope)) == envelope)
        }
    }

    @Test func bodyEncodedOnceGivesTheSameBytesAsTheWholeEnvelope() {
        let body = EncodedBody(.peerJoined(Self.participant))
        #expect(
            body.finished(sequence: 4, ack: 5)
                == RoomProtocolCodec.encode(Envelope(sequence: 4, ack: 5, .peerJoined(Self.participant))))
    }
}
