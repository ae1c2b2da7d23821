internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// The room policy `replace`: a newcomer under a name that is taken has it, and the session that had it ends.
extension Simulation {
    /// A user leaves and joins again under another participant's name. The other one, when it hears of that, joins
    /// again under the name that has become free.
    func takeName(of other: Node, by node: Node) {
        guard scenario.replacesDuplicateNames, node !== other, node.suspendedUntil <= now, node.end == nil,
            other.end == nil, !node.isKicked, !other.isKicked, other.membership != nil,
            !isDisputed(node.participantName, except: node), !isDisputed(other.participantName, except: other)
        else { return }
        note("\(node.name) takes the name \(other.participantName)")
        other.nameAfterReplacement = node.participantName
        other.replacedAt = now
        other.wasKnownWhenReplaced = false
        node.participantName = other.participantName
        node.hasLeft = true
        feed(node, .leaveRequested)
        joinAnew(node, after: .milliseconds(300))
    }

    /// The participant is in the room. One that had its name before hears of it if the server still knows it: the
    /// server has not lost its state, and the grace period has not passed.
    func noteTakenName(by node: Node) {
        guard scenario.replacesDuplicateNames else { return }
        for other in nodes
        where other !== node && other.nameAfterReplacement != nil && other.participantName == node.participantName {
            other.wasKnownWhenReplaced =
                other.lastInTouch.map { $0 > lastStateLoss && now - $0 < Self.grace - .seconds(5) } ?? false
        }
    }

    /// Whether another participant joins, or has joined, under the name. A server that has lost its state may let the
    /// older one in first.
    func isDisputed(_ name: String, except node: Node) -> Bool {
        scenario.replacesDuplicateNames && nodes.contains { $0 !== node && $0.participantName == name }
    }

    /// Whether somebody else may have joined under the name: another participant, or a late attempt of its own program
    /// or of the one that had the name before, which no server can tell from a newcomer.
    func mayBeReplaced(_ node: Node) -> Bool {
        node.nameAfterReplacement != nil
            || lateHellos[node.participantName].map { now - $0 < .seconds(60) } ?? false
    }

    /// The hello of a first join has reached a server.
    func noteHello(_ hello: Hello, from connection: SignalingConnection) {
        guard hello.resume == nil else { return }
        connection.newName = hello.name
        if scenario.replacesDuplicateNames { noteLateName(of: connection) }
    }

    /// A server has let the connection in. A late first join takes the name of a participant that has lost its
    /// connection under either policy. The policy `reject` refuses the others, which do no harm.
    func noteAdmission(of connection: SignalingConnection) { noteLateName(of: connection) }

    private func noteLateName(of connection: SignalingConnection) {
        guard let name = connection.newName, connection.isAbandoned || nodes[connection.node].life != connection.life
        else { return }
        lateHellos[name] = now
    }

    /// Checks that a participant whose name was taken has heard of it, some time after the last fault. A server that
    /// has lost its state cannot know which of two is the newer one: then the older one's user gives it up.
    func inspectNames() {
        guard scenario.replacesDuplicateNames, now > faultsEnd + .seconds(30) else { return }
        for node in nodes where node.nameAfterReplacement != nil && node.end == nil {
            if node.wasKnownWhenReplaced, lastStateLoss < node.replacedAt, lateHellos[node.participantName] == nil {
                report("\(node.name) has not heard that its name was taken at \(node.replacedAt.seconds)")
            }
            node.hasLeft = true
            feed(node, .leaveRequested)
            joinAnew(node, after: .milliseconds(300))
        }
    }
}
