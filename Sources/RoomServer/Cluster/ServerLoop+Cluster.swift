internal import NIOCore
internal import RoomCluster
internal import RoomProtocol
internal import RoomServerCore

/// The rooms of a node of a cluster.
extension ServerLoop {
    /// Asks the cluster for the owner of the hello's room, unless this node owns it. Returns whether it has asked.
    func isRouted(_ id: ConnectionID, _ envelope: Envelope<ClientMessage>, _ hello: Hello, bytes: Int) -> Bool {
        guard let cluster, machine.isNew(id), !machine.owns(hello.room) else { return false }
        switch connections[id] {
        case let remote as RemoteConnection:
            // The room has been given up on the way.
            handOverToCluster(id)
            remote.refuse()
        case let handler as ConnectionHandler: handler.route(id, envelope, hello, bytes: bytes, cluster)
        default: return false
        }
        return true
    }

    /// The connection goes to another node.
    func handOverToCluster(_ id: ConnectionID) {
        connections[id] = nil
        step { machine, _ in
            machine.moved(id)
            return []
        }
    }

    /// A connection that waits for its owner or was handed over has ended here.
    func endInCluster(_ waiter: WaiterID) {
        guard let cluster else { return }
        cluster.eventLoop.execute { cluster.value.ended(waiter) }
    }

    /// Passes a message of a client on to the owner of its room; nil: a frame that is none.
    func relay(_ text: [UInt8]?, of waiter: WaiterID) {
        guard let cluster else { return }
        cluster.eventLoop.execute {
            if let text { cluster.value.send(text, of: waiter) } else { cluster.value.sendFrame(of: waiter) }
        }
    }

    func refuse(_ id: ConnectionID, _ error: ProtocolError) { step { $0.refuse(id, error, at: $1) } }

    // MARK: From the cluster

    func own(_ room: RoomName, fence: Fence, _ marks: [RoomCluster.Mark]) {
        step { machine, _ in
            machine.makesMarks = true
            machine.own(room, fence: fence, facts: marks.map(DepartureFact.init))
            return []
        }
    }

    func yield(_ room: RoomName) { step { $0.yield(room, at: $1) } }

    /// Looks whether anybody uses the room.
    func check(_ room: RoomName) {
        step { machine, _ in
            machine.check(room)
            return []
        }
    }

    /// Tells the cluster what has changed in its rooms. The decision, if there is one, is among it, and is known
    /// everywhere then.
    func reportToCluster(_ decision: Decision? = nil) {
        defer { decision?.begin() }
        guard let cluster else { return }
        let lifetime = max(limits.sessionLifetime, limits.grace * 2)
        let facts = machine.takeFacts().map { room, fact in
            (room: room, mark: RoomCluster.Mark(fact), life: fact.life ?? lifetime)
        }
        let quiet = machine.takeQuietRooms()
        guard !facts.isEmpty || !quiet.isEmpty else { return }
        @Sendable func tell(_ whenStored: (@Sendable (Bool) -> Void)?) {
            cluster.eventLoop.execute {
                for (room, mark, life) in facts { cluster.value.marked(mark, in: room, lifetime: life) }
                // The store takes marks in their order.
                if let whenStored, let last = facts.last {
                    cluster.value.notify(whenStored, of: last.mark, in: last.room)
                }
                for room in quiet { cluster.value.roomEnded(room) }
            }
        }
        if let decision, !facts.isEmpty { decision.keep { tell($0) } } else { tell(nil) }
    }
}

extension RoomCluster.Mark {
    fileprivate init(_ fact: DepartureFact) {
        switch fact {
        case .left(let session): self = .left(session)
        case .kicked(let session): self = .kicked(session)
        case .kickedName(let name), .bannedName(let name, _), .forgottenName(let name): self = .kickedName(name)
        case .closed(let fence): self = .closed(fence)
        }
    }
}

extension DepartureFact {
    /// How long it must be remembered; nil: as long as session tokens are valid.
    fileprivate var life: Duration? {
        switch self {
        case .left, .kicked, .kickedName, .closed: nil
        case .bannedName(_, let life): life
        case .forgottenName: .zero
        }
    }

    fileprivate init(_ mark: RoomCluster.Mark) {
        switch mark {
        case .left(let session): self = .left(session)
        case .kicked(let session): self = .kicked(session)
        case .kickedName(let name): self = .kickedName(name)
        case .closed(let fence): self = .closed(fence)
        }
    }
}
