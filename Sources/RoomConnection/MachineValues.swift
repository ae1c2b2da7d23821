internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

// The machine's values as the application sees them.

extension RoomCore.RoomConfiguration {
    init(_ hello: Hello, _ configuration: RoomConfiguration, peer capabilities: TransportPluginAPI.Capabilities) {
        self.init(room: hello.room, role: hello.role, name: hello.name)
        metadata = hello.metadata
        self.capabilities = hello.capabilities
        hasCredentialProvider = configuration.token != nil
        hasICEServerProvider = configuration.iceServerProvider != nil
        ice.servers = configuration.iceServers
        ice.policy = configuration.icePolicy
        ice.usesServers = capabilities.contains(.relay)
        ice.usesTLS = capabilities.contains(.secureRelay)
        switch configuration.rejoinPolicy {
        case .all: recovery.rejoinPolicy = .all
        case .broken: recovery.rejoinPolicy = .broken
        case .none: recovery.rejoinPolicy = .none
        }
        recovery.suspectBudget = configuration.recovery.silence
        recovery.probeBudget = min(configuration.recovery.probe, configuration.recovery.silence)
        recovery.restartBudget = configuration.recovery.restart
        recovery.rebuildAfter = configuration.recovery.rebuild
        recovery.rebuildWithoutPathAfter = configuration.recovery.rebuildWithoutPath
        recovery.connectBudget = configuration.recovery.connect
        recovery.absenceLimit = configuration.recovery.absence
        recovery.rejoinJitter = configuration.recovery.spread
        recovery.stallPatience = configuration.recovery.stall
        signaling.backoff.base = configuration.reconnect.base
        signaling.backoff.cap = configuration.reconnect.cap
        signaling.backoff.maximum = configuration.reconnect.maximum
        signaling.backoff.attemptLimit = configuration.reconnect.attemptLimit
    }
}

extension SignalingStatus {
    init(_ status: RoomCore.SignalingStatus) {
        switch status {
        case .connecting(let attempt, let nextAttemptAt, let cause):
            self = .connecting(attempt: attempt, nextAttemptAt: nextAttemptAt, cause: cause?.description)
        case .connected: self = .connected
        case .disconnected(let cause): self = .disconnected(cause: cause?.description)
        case .closed(let reason): self = .closed(reason: RoomError(reason)?.message ?? "left")
        }
    }
}

extension RoomMembership {
    init(_ membership: Membership) {
        self.init(
            participant: membership.participant, isHost: membership.isHost, epoch: membership.epoch,
            isResumed: membership.kind == .resumed)
    }
}

extension PeerStatus {
    init(_ status: RoomCore.PeerStatus) {
        switch status {
        case .waiting, .connecting: self = .connecting
        case .connected(let path): self = .connected(path)
        case .recovering(let rung, _, _): self = .recovering(rung: String(describing: rung))
        }
    }
}

extension RoomIncident {
    init(_ incident: Incident) {
        self.init(
            participant: incident.participant, cause: incident.cause.rawValue, startedAt: incident.startedAt,
            endedAt: incident.endedAt, hasRecovered: incident.outcome == .recovered,
            steps: incident.steps.map { step in
                Step(
                    name: step.kind.rawValue, at: step.at, cause: step.text ?? step.cause?.rawValue,
                    number: step.number)
            })
    }
}

extension RoomError {
    init(_ error: RoomCore.RoomError) {
        switch error {
        case .refused(let refusal):
            self.init(
                .refused, refusal.message, protocolCode: refusal.code.rawValue, isRetryable: refusal.isRetryable)
        case .queueOverflow(let dropped):
            self.init(
                .refused, "\(dropped) messages to the room server did not fit into the queue; the room is rejoined",
                protocolCode: "queue_overflow", isRetryable: true)
        case .malformed(let error):
            self.init(
                .refused, "the room server sent something unreadable: \(error.message)",
                protocolCode: error.code.rawValue, isRetryable: true)
        case .iceServers(let fault):
            self.init(.configuration, fault.description, protocolCode: fault.code)
        case .outOfResources(let participant, let failure):
            self.init(
                .unavailable, "no new path to \(participant): \(failure.description)",
                protocolCode: "resource_exhausted",
                isRetryable: true)
        }
    }

    /// Nil: we left.
    init?(_ reason: EndReason) {
        func refused(_ failure: SignalingFailure) -> RoomError {
            let code = failure.code?.rawValue ?? failure.status.map { "status_\($0)" }
            return RoomError(.refused, failure.description, protocolCode: code)
        }
        switch reason {
        case .left: return nil
        case .kicked(let message): self.init(.refused, message, protocolCode: "kicked")
        case .roomClosed(let message): self.init(.refused, message, protocolCode: "room_closed")
        case .replaced:
            self.init(.refused, "another connection has taken over this session", protocolCode: "replaced")
        case .staleEpoch(let message): self.init(.refused, message, protocolCode: "stale_epoch")
        case .refused(let failure), .gaveUp(let failure): self = refused(failure)
        case .credentialFailed(let failure):
            self.init(.refused, failure.description, protocolCode: "unauthorized")
        }
    }
}
