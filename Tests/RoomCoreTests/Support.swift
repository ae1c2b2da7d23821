import RoomProtocol
import RoomValues
import TransportValues

@testable import RoomCore

/// A time in virtual seconds.
func at(_ seconds: Double) -> Timestamp { .zero + .milliseconds(Int64(seconds * 1000)) }

func makeConfiguration(hasCredentialProvider: Bool = false) -> MachineConfiguration {
    var configuration = MachineConfiguration(room: RoomName("lab"), role: .guest, name: "ann")
    configuration.hasCredentialProvider = hasCredentialProvider
    return configuration
}

func makeParticipant(
    _ id: String, session: String? = nil, epoch: Epoch = 1, metadata: [String: String] = [:], isHost: Bool = false
) -> Participant {
    Participant(
        id: ParticipantID(id), session: SessionID(session ?? "s-\(id)"), epoch: epoch, name: id, isHost: isHost,
        metadata: metadata)
}

func makeJoined(
    _ id: String = "m", session: String? = nil, epoch: Epoch = 1, isResumed: Bool = false, received: SequenceNumber = 0,
    sent: SequenceNumber? = nil, roster: [Participant] = [], hostTerm: HostTerm = 1, isHost: Bool = false,
    attributes: RoomAttributes = RoomAttributes(), servers: [ICEServer] = [],
    ttl: Duration? = nil, grace: Duration = .seconds(20)
) -> Joined {
    Joined(
        participant: ParticipantID(id), session: SessionID(session ?? "s-\(id)"), epoch: epoch, isHost: isHost,
        hostTerm: hostTerm, isResumed: isResumed, received: received, sent: sent, sessionToken: "token-\(epoch)",
        roster: roster, attributes: attributes,
        iceServers: ICEServerList(servers: servers, ttl: ttl), grace: grace)
}

func makeError(
    _ code: ProtocolError.Code, isRetryable: Bool = false, isFatal: Bool = true, retryAfter: RetryWindow? = nil
) -> ProtocolError {
    ProtocolError(code: code, message: "no", isRetryable: isRetryable, isFatal: isFatal, retryAfter: retryAfter)
}

/// Runs one machine's timers and remembers what it says.
struct RoomDriver {
    var machine: RoomMachine
    var now = Timestamp.zero
    var timers: [RoomMachine.TimerID: Timestamp] = [:]
    var all: [RoomMachine.Action] = []

    init(_ configuration: MachineConfiguration = makeConfiguration(), seed: UInt64 = 1) {
        machine = RoomMachine(configuration, seed: seed)
    }

    @discardableResult
    mutating func feed(_ event: RoomMachine.Event) -> [RoomMachine.Action] {
        let actions = machine.handle(event, now: now)
        for action in actions {
            if case .scheduleTimer(let timer, let time) = action { timers[timer] = time }
            if case .cancelTimer(let timer) = action { timers[timer] = nil }
        }
        all += actions
        return actions
    }

    /// Fires what is due, in the order of time, up to `seconds`.
    @discardableResult
    mutating func run(until seconds: Double) -> [RoomMachine.Action] {
        var actions: [RoomMachine.Action] = []
        while let (timer, time) = timers.min(by: { ($0.value, "\($0.key)") < ($1.value, "\($1.key)") }),
            time <= at(seconds)
        {
            timers[timer] = nil
            now = max(now, time)
            actions += feed(.timerFired(timer))
        }
        now = max(now, at(seconds))
        return actions
    }

    /// Takes the latest transport from opening to `joined`.
    @discardableResult
    mutating func join(_ joined: Joined) -> [RoomMachine.Action] {
        feed(.transportConnected(generation)) + feed(.received(Envelope(.joined(joined)), generation))
    }

    /// The latest generation that was to be opened.
    var generation: ConnectionGeneration {
        all.reversed().lazy.compactMap { if case .openTransport(let generation) = $0 { generation } else { nil } }.first
            ?? 0
    }

    /// The latest connection that was made to a participant.
    func connection(to participant: ParticipantID) -> PeerConnectionID? {
        all.reversed().lazy.compactMap { action -> PeerConnectionID? in
            if case .peer(participant, let connection, .create) = action { connection } else { nil }
        }.first
    }

    /// As `run`, while the server shows signs of life all the time.
    @discardableResult
    mutating func runAnswered(until seconds: Double) -> [RoomMachine.Action] {
        var actions: [RoomMachine.Action] = []
        while now.seconds < seconds {
            let part = run(until: min(seconds, now.seconds + 0.5))
            receive(.ack(received: 0))
            answerPings(in: part)
            actions += part
        }
        return actions
    }

    /// As a server does.
    mutating func answerPings(in actions: [RoomMachine.Action]) {
        for case .ping(let id) in actions.sent { receive(.pong(id: id)) }
    }

    @discardableResult
    mutating func receive(_ message: ServerMessage, sequence: SequenceNumber? = nil) -> [RoomMachine.Action] {
        feed(.received(Envelope(sequence: sequence, message), generation))
    }
}

extension [RoomMachine.Action] {
    var events: [RoomEvent] { compactMap { if case .emit(let event) = $0 { event } else { nil } } }
    var sent: [ClientMessage] { compactMap { if case .send(let envelope, _) = $0 { envelope.message } else { nil } } }
    var envelopes: [Envelope<ClientMessage>] {
        compactMap { if case .send(let envelope, _) = $0 { envelope } else { nil } }
    }
    var signals: [Signal] { sent.compactMap { if case .signal(let signal) = $0 { signal } else { nil } } }
    var commands: [PeerCommand] {
        compactMap { if case .peer(_, _, let command) = $0 { command } else { nil } }
    }
    var opened: [ConnectionGeneration] {
        compactMap { if case .openTransport(let generation) = $0 { generation } else { nil } }
    }
    var hellos: [Hello] { sent.compactMap { if case .hello(let hello) = $0 { hello } else { nil } } }
}

extension RoomDriver {
    /// A driver whose machine has just joined a room with these participants.
    static func inRoom(_ roster: [Participant] = [makeParticipant("a"), makeParticipant("z")]) -> RoomDriver {
        var driver = RoomDriver()
        driver.feed(.started)
        driver.join(makeJoined(roster: roster))
        return driver
    }

    /// Loses the connection and comes back.
    mutating func comeBack(_ joined: Joined) -> [RoomEvent] {
        feed(.transportClosed(generation, nil))
        run(until: now.seconds + 0.5)
        return join(joined).events
    }
}

func rosterEvents(_ events: [RoomEvent]) -> [RoomEvent] {
    events.filter {
        switch $0 {
        case .peerJoined, .peerLeft, .peerChanged, .hostChanged, .joined: true
        case .signaling, .peer, .stalled, .resolved, .incident, .attributesChanged, .undelivered, .error, .left:
            false
        }
    }
}
