package import RoomProtocol
@_exported public import RoomValues
package import TransportValues

/// The room that a `RoomMachine` is to be in, and how patient the machine is.
package struct MachineConfiguration: Sendable, Equatable {
    package var room: RoomName
    package var role: Hello.Role
    /// A guest waits for a room that does not exist yet.
    package var waitsForRoom = false
    /// The name to be shown; unique in the room.
    package var name: String
    package var metadata: [String: String] = [:]
    /// `delivery.v1` when the shell speaks it.
    package var capabilities: [String] = []
    /// A fixed join token. A secret.
    package var token: String?
    /// Whether `requestCredential` is answered. When true, `token` is only the first one and may be nil.
    package var hasCredentialProvider = false
    /// Whether `requestICEServers` is answered.
    package var hasICEServerProvider = false
    package var ice = ICEConfiguration()
    package var signaling = SignalingConfiguration()
    package var recovery = RecoveryConfiguration()

    package init(room: RoomName, role: Hello.Role, name: String) {
        self.room = room
        self.role = role
        self.name = name
    }
}

/// ICE servers, and what the peer transport makes of them.
package struct ICEConfiguration: Sendable, Equatable {
    /// Beside the room server's and the provider's.
    package var servers: [ICEServer] = []
    package var policy = ICEPolicy.all
    /// The transport uses ICE servers at all.
    package var usesServers = true
    /// The transport speaks TLS to them.
    package var usesTLS = true

    package init() {}
}

/// Patience and limits of the signaling connection.
package struct SignalingConfiguration: Sendable, Equatable {
    package var backoff = BackoffConfiguration()
    /// For one attempt of the transport; beyond the transport's own `connectTimeout`, which should end it first.
    package var attemptTimeout: Duration = .seconds(10)
    /// From `hello` until the whole of `joined` has come: 70 KB where everybody's metadata is at its limit.
    package var helloTimeout: Duration = .seconds(5)
    /// How long an answer to a probe may take (network change, reconnect request, a timer that came far too late).
    package var probeDeadline: Duration = .seconds(2)
    /// How long a numbered message may wait for its acknowledgement to travel with something else.
    package var ackDelay: Duration = .milliseconds(200)
    /// Numbered messages after which an acknowledgement is sent at once.
    package var ackEvery = 16
    /// Messages that are kept until acknowledged, those that wait for a connection included.
    package var queueLimit = 1024
    /// The same in bytes (estimated).
    package var queueByteLimit = 1 << 20
    /// A timer that comes later than this tells of a suspended or starved process: nothing is declared dead by it.
    package var timerTolerance: Duration = .seconds(1)
    /// A credential that expires within this time is replaced before it is used.
    package var credentialMargin: Duration = .seconds(30)
    /// How long an attempt to come back waits for such a replacement.
    package var credentialPatience: Duration = .seconds(2)
    /// The share of the ICE servers' time to live after which fresh ones are fetched.
    package var iceRefreshFraction = 0.7

    package init() {}
}

/// Exponential backoff with full jitter.
package struct BackoffConfiguration: Sendable, Equatable {
    /// The first step, the longest steps, and how many attempts there are. The longest step grows after `patience` in
    /// proportion to the outage's age.
    package var reconnect = ReconnectBackoff()
    package var factor = 2.0
    package var patience: Duration = .seconds(30)
    /// A connection that held this long ends the outage.
    package var stableAfter: Duration = .seconds(5)

    package init() {}
}

/// Budgets of the recovery ladder.
package struct RecoveryConfiguration: Sendable, Equatable {
    /// The connections that the offerer restarts after a rejoin.
    package var rejoinPolicy = RejoinPolicy.all
    /// The budgets that the application can choose.
    package var budgets = RecoveryBudgets()
    /// How long a probe may go unanswered after a change of the network.
    package var probeBudget: Duration { min(budgets.probe, budgets.silence) }
    /// How much longer each further restart may take, and at most.
    package var restartBackoff: Duration = .seconds(1)
    package var restartMaximum: Duration = .seconds(10)
    /// Restarts of a path that works, one behind the other, that may go unanswered: then it stays.
    package var optionalAttempts = 4
    /// The least time between two restarts that the other side asks for.
    package var restartSpacing: Duration = .milliseconds(500)
    /// The least time between two restarts for changes of this machine's network.
    package var networkSpacing: Duration = .milliseconds(100)
    /// The longest time for a new connection, which grows by `budgets.connect` with every rebuild in a row.
    package var connectMaximum: Duration = .seconds(60)
    /// Delay before the second rebuild in a row of a connection that failed at once; doubles, up to
    /// `rebuildDelayMaximum`.
    package var rebuildDelay: Duration = .seconds(1)
    package var rebuildDelayMaximum: Duration = .seconds(30)
    /// After a connection that the other side closed in order, for news of why.
    package var closedBudget: Duration = .seconds(2)
    /// How long a recovery that has ended waits for its first message before it is told.
    package var firstDataBudget: Duration = .seconds(1)
    /// When a stall whose reason has not changed is reported again.
    package var stallReminder: Duration = .seconds(120)
    /// Peers of ours that may be connecting at a time.
    package var maximumConnecting = 8
    /// Offers of one participant that are answered at once, and the pace of those that follow. See `OfferPace`.
    package var offerBurst = 8
    package var offerInterval: Duration = .milliseconds(500)
    /// The same of all participants together.
    package var offerBurstOfAll = 64
    package var offerIntervalOfAll: Duration = .milliseconds(30)
    /// Remote candidates that are kept until their description has come.
    package var candidateLimit = 64
    /// As in `SignalingConfiguration`.
    package var timerTolerance: Duration = .seconds(1)

    package init() {}
}
