internal import TransportValues

/// The conditions of one run, besides the seed's own chances.
package struct Scenario: Sendable {
    package var seed: UInt64
    package var participants = 4
    package var faults = FaultPlan(
        kinds: FaultKind.general, begin: .seconds(10), end: .seconds(70), longest: .seconds(45), calm: .seconds(120))
    /// Between two bursts of messages of one participant, on average. Nil: nobody sends anything.
    package var chatter: Duration? = .seconds(2)
    /// Life of join tokens. Nil: none are needed.
    package var tokenLife: Duration?
    /// All paths are relayed, with credentials that live this long. Nil: none are.
    package var relayLife: Duration?
    /// The relays are those of each application's own provider of ICE servers. Otherwise they are the room server's.
    package var hasICEServerProvider = false
    /// A path comes about only where one end at least has a relay.
    package var needsRelays = false
    /// A newcomer under a name that is taken replaces the participant that has it. Otherwise it is refused.
    package var replacesDuplicateNames = false
    /// The side that resumes a stream repeats some of what the other side has already, as an implementation may.
    package var repeats = false
    /// Every second participant does not count its attempts, as a client may.
    package var hidesAttempts = false
    /// The share of the datagrams between two participants that is lost on the way, each for itself.
    package var datagramLoss = 0.0
    /// And the share of those that come twice.
    package var datagramDuplication = 0.0
    /// Every third participant has a program without streams, topics and requests.
    package var hasOldPrograms = false
    /// Participants publish in topics and make requests, too.
    package var hasTopicsAndRequests = false
    /// The shells know their addresses: a change of the network says which are left, and a path from which one it goes
    /// out.
    package var knowsAddresses = true

    package init(seed: UInt64) { self.seed = seed }

    /// Everything follows from the seed: from two participants and one fault to seven and a storm of short ones.
    package static func mixed(seed: UInt64) -> Scenario {
        var scenario = Scenario(seed: seed)
        scenario.participants = 2 + Int(seed % 6)
        scenario.faults.count = 1 + Int(seed % 14)
        if seed % 5 == 0 {
            scenario.faults.count = 40
            scenario.faults.longest = .seconds(8)
        }
        if seed % 4 == 1 { scenario.tokenLife = .seconds(45) }
        if seed % 8 == 3 {
            scenario.relayLife = .seconds(60)
            scenario.faults.wellFor = .seconds(60)
        }
        scenario.repeats = seed % 3 == 0
        scenario.hidesAttempts = seed % 4 == 2
        scenario.datagramLoss = [0, 0, 0.02, 0, 0.15, 0, 0.05][Int(seed % 7)]
        scenario.datagramDuplication = seed % 7 >= 3 ? 0.1 : 0
        scenario.hasOldPrograms = seed % 13 == 5
        scenario.hasTopicsAndRequests = seed % 8 == 5
        scenario.knowsAddresses = seed % 11 < 8
        if seed % 16 == 15 { scenario.useICEServerProvider(needsRelays: seed % 32 == 15) }
        if seed % 9 == 4 { scenario.replaceDuplicateNames() }
        if seed % 10 == 9 { scenario.shortenPaths() }
        return scenario
    }

    /// Connections may be such that restarts do not help.
    package mutating func shortenPaths() { faults.kinds += Array(repeating: .shortPaths, count: 6) }

    /// Relays come from a provider of each application, which may fail.
    package mutating func useICEServerProvider(needsRelays: Bool) {
        hasICEServerProvider = true
        self.needsRelays = needsRelays
        relayLife = .seconds(60)
        faults.wellFor = .seconds(60)
        faults.kinds += Array(repeating: .iceServerOutage, count: 6)
    }

    /// Newcomers replace participants whose names they come with. Nobody is removed by the host, which would ban a name
    /// that somebody else may have by then.
    package mutating func replaceDuplicateNames() {
        replacesDuplicateNames = true
        faults.kinds.removeAll { $0 == .kick }
        faults.kinds += Array(repeating: .nameTaken, count: 6)
    }
}

/// The kinds of faults, and of what people do.
package enum FaultKind: String, TimedFaultKind, CaseIterable {
    package static var victims: String { "participants" }

    /// The server process dies and comes back with empty rooms.
    case serverCrash
    /// The server's machine loses power (no RST is sent), and comes back with empty rooms.
    case serverPowerLoss
    /// The server says when to come back, and comes back with empty rooms.
    case serverDrain
    /// All of the server's connections are reset and it cannot be reached, but its state is kept.
    case serverIsolation
    /// The server process is stopped, and goes on later.
    case serverFreeze
    /// A second server with the same key and no state takes over for some participants, while the first lives on;
    /// some of their ways go on changing between the two; later all go to one of them.
    case serverSplit
    /// One participant's signaling is cut off silently: nothing comes through, both ends stay half-open.
    case signalingCut
    /// The same in one direction only.
    case signalingUpCut
    case signalingDownCut
    /// One participant's signaling connection is reset.
    case signalingReset
    /// The path between two participants is cut.
    case pathCut
    /// The same in one direction only.
    case pathOneWayCut
    /// The path between two participants comes and goes.
    case pathFlap
    /// No paths between two groups.
    case partition
    /// One participant is cut off from everybody: signaling and paths.
    case nodeCut
    /// Everything from and to one participant takes long.
    case slowness
    /// Much of what one participant sends or gets is lost on the way, datagram by datagram, and repeated where a
    /// transport repeats it.
    case loss
    /// One participant's address changes: its paths are dead for good, its signaling half-open.
    case addressChange
    /// One participant's machine has no network, and may come back with another address.
    case networkLoss
    /// One participant's token provider does not answer, or fails.
    case tokenOutage
    /// One participant's process is stopped, and goes on later: time passes meanwhile.
    case freeze
    /// One participant's machine sleeps: its clock stands still.
    case suspend
    /// One participant's clock jumps forward.
    case clockJump
    /// A peer connection fails.
    case peerFailure
    /// The paths of a peer connection go silent soon after they are found, from now on: what was sent waits for a timer
    /// of the association that always comes too late, and only a new connection helps. Needs `Scenario.shortenPaths`.
    case shortPaths
    /// A program closes one of its data channels, or all, and leaves the connection open.
    case channelClosure
    /// One end refuses the next description that it is given.
    case refusal
    /// A participant updates its metadata.
    case update
    /// The host removes a participant.
    case kick
    /// A participant leaves, and a new one joins under the same name.
    case leaveAndReturn
    /// The application asks to reconnect at once.
    case reconnectNow
    /// The network is said to have changed, but has not.
    case falseHint
    /// One application's provider of ICE servers does not answer, or fails. Needs
    /// `Scenario.useICEServerProvider`.
    case iceServerOutage
    /// A participant leaves and joins again under the name of another one. Needs `Scenario.replaceDuplicateNames`.
    case nameTaken

    /// Those that need no particular scenario.
    package static var general: [FaultKind] {
        allCases.filter { ![.iceServerOutage, .nameTaken, .shortPaths].contains($0) }
    }
}
