internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Opening, closing and counting of channels: the decisions.
struct ChannelMachineTests {
    typealias Action = ChannelMachine.Action

    private func machine(streams: Int = 256, mark: Int = 1000) -> ChannelMachine {
        ChannelMachine(streamCount: streams, highWaterMark: mark, maximumMessageSize: 65_536)
    }

    /// The client's side of an association that takes messages, with one open channel on stream 0.
    private func withOpenChannel(
        _ parameters: ChannelParameters = ChannelParameters(label: "x"), mark: Int = 1000
    ) throws -> (ChannelMachine, ChannelID) {
        var machine = machine(mark: mark)
        #expect(machine.rolesSettled(isClient: true).isEmpty)
        #expect(machine.associationBegan().isEmpty)
        let (id, actions) = try machine.openRequested(parameters)
        #expect(actions == [.sendControl])
        #expect(machine.nextControl()?.bytes == DCEP.encode(.open(parameters)))
        #expect(machine.controlSent() == [.reportOpened(id, parameters, isRemote: false)])
        machine.acknowledged(remaining: 0)
        return (machine, id)
    }

    private func message(_ text: String, isText: Bool = false) -> UnreadMessage {
        UnreadMessage(payload: Payload(Array(text.utf8)), isText: isText)
    }

    // MARK: Opening

    @Test func openMessagesWaitForTheAssociationAndGoOutOnce() throws {
        var machine = machine()
        let parameters = ChannelParameters(label: "a")
        let (id, actions) = try machine.openRequested(parameters)
        #expect(actions.isEmpty)
        #expect(machine.rolesSettled(isClient: false).isEmpty)
        #expect(machine.associationBegan() == [.sendControl])
        #expect(machine.nextControl()?.stream == 1)
        // Not taken yet: the end of the handshake makes no second one.
        #expect(machine.associationEstablished(streams: 256).isEmpty)
        #expect(machine.hasWaitingControl)
        #expect(machine.controlSent() == [.reportOpened(id, parameters, isRemote: false)])
        #expect(machine.nextControl() == nil && !machine.hasWaitingControl)
    }

    @Test func onlyTheFirstControlMessageAsksToBeSent() throws {
        var machine = machine()
        _ = machine.rolesSettled(isClient: true)
        _ = machine.associationBegan()
        #expect(try machine.openRequested(ChannelParameters(label: "a")).1 == [.sendControl])
        #expect(try machine.openRequested(ChannelParameters(label: "b")).1 == [])
        #expect(machine.waitsForRoom)
    }

    @Test func channelAgreedOnBeforehandNeedsNoMessage() throws {
        var machine = machine()
        let parameters = ChannelParameters(label: "n", negotiatedID: 7)
        let (id, _) = try machine.openRequested(parameters)
        _ = machine.rolesSettled(isClient: true)
        #expect(machine.associationBegan() == [.reportOpened(id, parameters, isRemote: false)])
        #expect(machine.nextControl() == nil)
    }

    @Test func remoteChannelIsAcknowledgedAndReported() {
        var machine = machine()
        _ = machine.rolesSettled(isClient: true)
        _ = machine.associationBegan()
        let parameters = ChannelParameters(label: "r", isOrdered: false)
        let actions = machine.controlReceived(.open(parameters), on: 5)
        let id = machine.table[0].id
        #expect(actions == [.sendControl, .reportOpened(id, parameters, isRemote: true)])
        #expect(machine.nextControl()?.bytes == DCEP.encode(.acknowledge))
        #expect(machine.controlSent().isEmpty)
        #expect(machine.delivery(of: 0).isUnordered, "the other side's channel need not wait for an acknowledgement")
        // In use, and beyond all streams.
        #expect(machine.controlReceived(.open(parameters), on: 5).isEmpty)
        #expect(machine.controlReceived(.open(parameters), on: 300) == [.refuse(stream: 300)])
    }

    @Test func messagesStayInOrderUntilTheOpenMessageIsAcknowledged() throws {
        var (machine, _) = try withOpenChannel(ChannelParameters(label: "u", isOrdered: false))
        #expect(!machine.delivery(of: 0).isUnordered)
        #expect(machine.controlReceived(.acknowledge, on: 0).isEmpty)
        #expect(machine.delivery(of: 0).isUnordered)
    }

    @Test func channelsBeyondTheAgreedStreamsEnd() throws {
        var machine = machine()
        _ = machine.rolesSettled(isClient: true)
        _ = machine.associationBegan()
        let ids = try (0..<3).map { try machine.openRequested(ChannelParameters(label: "\($0)")).0 }
        #expect(machine.associationEstablished(streams: 4) == [.reportClosed(ids[2])])
        #expect(machine.nextControl()?.channel == ids[0])
        _ = machine.controlSent()
        _ = machine.controlSent()
        #expect(machine.nextControl() == nil, "the message of an ended channel is not sent")
    }

    @Test func refusedOpenMessageEndsItsChannel() throws {
        var machine = machine()
        _ = machine.rolesSettled(isClient: true)
        _ = machine.associationBegan()
        let (id, _) = try machine.openRequested(ChannelParameters(label: "a"))
        _ = machine.nextControl()
        #expect(machine.controlFailed() == [.reportClosed(id)])
        #expect(machine.table.slot(of: id) == nil)
    }

    // MARK: Closing

    @Test(arguments: [true, false]) func channelEndsWhenBothDirectionsAreReset(incomingFirst: Bool) throws {
        var (machine, id) = try withOpenChannel()
        #expect(machine.closeRequested(id) == [.resetStream(of: id)])
        #expect(machine.closeRequested(id).isEmpty)
        #expect(machine.hasUnsentResets && machine.channelsToReset == [id])
        #expect(machine.streamToReset(of: id) == 0)
        #expect(machine.resetRequested(of: id, isAccepted: true).isEmpty)
        #expect(!machine.hasUnsentResets && machine.streamToReset(of: id) == nil)
        let ended: [Action] = [.reportClosed(id)]
        #expect(incomingFirst ? machine.incomingReset([0]).isEmpty : machine.outgoingReset([0]).isEmpty)
        #expect(machine.table.slot(of: id) != nil)
        #expect((incomingFirst ? machine.outgoingReset([0]) : machine.incomingReset([0])) == ended)
        #expect(machine.table.slot(of: id) == nil)
        #expect(machine.closeRequested(id).isEmpty)
    }

    @Test func otherSidesResetIsAnsweredByOne() throws {
        var (machine, id) = try withOpenChannel()
        #expect(machine.incomingReset([0]) == [.resetStream(of: id)])
        _ = machine.resetRequested(of: id, isAccepted: true)
        #expect(machine.outgoingReset([]) == [.reportClosed(id)], "none named: all")
    }

    @Test func streamThatWasNotAskedForIsNoEnd() throws {
        var (machine, id) = try withOpenChannel()
        #expect(machine.outgoingReset([0]).isEmpty)
        #expect(machine.table[0].isOpen)
        _ = machine.closeRequested(id)
        #expect(machine.outgoingReset([0]).isEmpty, "messages of the channel are not with SCTP")
        _ = machine.resetRequested(of: id, isAccepted: true)
        #expect(machine.incomingReset([0]).isEmpty)
        #expect(machine.outgoingReset([0]) == [.reportClosed(id)])
    }

    @Test func whereStreamsCannotBeResetAChannelEndsAtOnce() throws {
        var (machine, id) = try withOpenChannel()
        _ = machine.closeRequested(id)
        #expect(machine.resetRequested(of: id, isAccepted: false) == [.handOut(id)])
        #expect(machine.handedOutAll(of: id) == [.reportClosed(id)])
    }

    @Test func waitingChannelIsClosedWithoutAMessage() throws {
        var machine = machine()
        let (id, _) = try machine.openRequested(ChannelParameters(label: "a"))
        #expect(machine.closeRequested(id) == [.reportClosed(id)])
        _ = machine.rolesSettled(isClient: true)
        #expect(machine.associationBegan().isEmpty)
        let (second, _) = try machine.openRequested(ChannelParameters(label: "b"))
        #expect(machine.closeRequested(second) == [.reportClosed(second)])
        #expect(!machine.hasWaitingControl)
    }

    @Test func unreadMessagesAreHandedOutBeforeTheEnd() throws {
        var (machine, id) = try withOpenChannel()
        #expect(machine.receivingChanged(false, of: id).isEmpty)
        machine.keep(message("1"), of: 0)
        machine.keep(message("2"), of: 0)
        #expect(machine.unreadSize == 130 && !machine.isReading(0))
        #expect(machine.incomingReset([0]) == [.resetStream(of: id)])
        _ = machine.resetRequested(of: id, isAccepted: true)
        #expect(machine.outgoingReset([0]).isEmpty)
        #expect(machine.unread(of: id).isEmpty, "it is not read")
        #expect(machine.receivingChanged(true, of: id) == [.handOut(id)])
        #expect(machine.unread(of: id).count == 2)
        machine.handedOut(1, of: id)
        #expect(machine.handedOutAll(of: id).isEmpty && machine.unreadSize == 65)
        machine.handedOut(1, of: id)
        #expect(machine.handedOutAll(of: id) == [.reportClosed(id)])
        #expect(machine.unreadSize == 0)
    }

    /// The other side sees the end of a channel before this side does, and uses its stream again.
    @Test func streamThatIsOpenedAgainEndsTheChannelBefore() throws {
        var machine = machine()
        _ = machine.rolesSettled(isClient: true)
        _ = machine.associationBegan()
        let parameters = ChannelParameters(label: "r")
        _ = machine.controlReceived(.open(parameters), on: 5)
        let old = machine.table[0].id
        _ = machine.incomingReset([5])
        _ = machine.resetRequested(of: old, isAccepted: true)
        let actions = machine.controlReceived(.open(parameters), on: 5)
        #expect(actions.first == .reportClosed(old))
        let new = try #require(machine.table.slot(ofStream: 5).map { machine.table[$0].id })
        #expect(new != old && actions.last == .reportOpened(new, parameters, isRemote: true))
        // The confirmation of the reset before is none of the new channel's.
        #expect(machine.outgoingReset([5]).isEmpty)
        #expect(machine.table.slot(of: new) != nil)
    }

    @Test func unusableMessageCostsItsChannelOrItsStream() throws {
        var (machine, id) = try withOpenChannel()
        #expect(machine.unusableReceived(on: 9) == [.refuse(stream: 9)])
        #expect(machine.unusableReceived(on: 0) == [.resetStream(of: id)])
        #expect(machine.unusableReceived(on: 0).isEmpty)
    }

    @Test func endOfTheConnectionLeavesNothing() throws {
        var (machine, id) = try withOpenChannel()
        machine.keep(message("1"), of: 0)
        machine.blocked(0)
        _ = machine.closeRequested(id)
        machine.connectionEnded()
        #expect(machine.table.used.isEmpty && machine.unreadSize == 0)
        #expect(!machine.waitsForRoom && !machine.hasUnsentResets && machine.nextControl() == nil)
    }

    // MARK: Messages

    @Test func strayMessagesAreHandedOutWhenTheirChannelOpens() throws {
        var machine = machine()
        _ = machine.rolesSettled(isClient: true)
        _ = machine.associationBegan()
        #expect(machine.readerSlot(ofStream: 7) == nil)
        machine.strayReceived(message("early", isText: true), on: 7)
        machine.strayReceived(message("other"), on: 9)
        #expect(machine.counters.messagesReceived == 0)
        let parameters = ChannelParameters(label: "n", negotiatedID: 7)
        let (id, actions) = try machine.openRequested(parameters)
        #expect(actions == [.reportOpened(id, parameters, isRemote: false), .handOut(id)])
        #expect(machine.unread(of: id).map(\.isText) == [true])
        #expect(machine.counters.messagesReceived == 1 && machine.counters.bytesReceived == 5)
        #expect(machine.strayCount == 1)
    }

    @Test func blockedChannelIsWokenAtHalfOfItsMark() throws {
        var (machine, id) = try withOpenChannel(mark: 100)
        for _ in 0..<4 {
            #expect(machine.hasRoom(0))
            machine.sent(30, of: 0)
            machine.accepted(30, of: 0, count: 30)
        }
        #expect(!machine.hasRoom(0))
        machine.blocked(0)
        machine.blocked(0)
        #expect(machine.waitsForRoom)
        machine.acknowledged(remaining: 90)
        #expect(machine.table[0].buffered == 90 && machine.wakeBlocked().isEmpty)
        machine.acknowledged(remaining: 30)
        #expect(machine.wakeBlocked() == [.reportWritable(id)])
        #expect(machine.wakeBlocked().isEmpty && !machine.waitsForRoom)
        #expect(machine.counters.messagesSent == 4 && machine.counters.bytesSent == 120)
    }

    @Test func amountsOfAnEndedChannelAreNotItsSuccessors() throws {
        var (machine, id) = try withOpenChannel()
        machine.sent(30, of: 0)
        machine.accepted(30, of: 0, count: 30)
        _ = machine.closeRequested(id)
        _ = machine.resetRequested(of: id, isAccepted: true)
        _ = machine.incomingReset([0])
        #expect(machine.outgoingReset([0]) == [.reportClosed(id)])
        let (second, _) = try machine.openRequested(ChannelParameters(label: "y"))
        #expect(machine.table.slot(of: second) == 0 && second != id)
        machine.acknowledged(remaining: 0)
        #expect(machine.table[0].buffered == 0)
    }
}

/// Messages that come in pieces.
struct MessageAssemblyTests {
    private func add(
        _ assembly: inout MessageAssembly, _ piece: [UInt8], stream: UInt16 = 1, isEnd: Bool
    ) -> MessageAssembly.Outcome {
        piece.withUnsafeBytes { assembly.add($0, stream: stream, protocol: 53, isEnd: isEnd) }
    }

    @Test func piecesAreJoinedUnderTheStreamOfTheFirst() {
        var assembly = MessageAssembly(limit: 4)
        #expect(assembly.isEmpty)
        #expect(add(&assembly, [1, 2], stream: 3, isEnd: false) == .incomplete)
        #expect(!assembly.isEmpty)
        #expect(
            add(&assembly, [3, 4], stream: 0, isEnd: true)
                == .complete(MessageAssembly.Message(stream: 3, protocol: 53, bytes: [1, 2, 3, 4])))
        #expect(assembly.isEmpty)
    }

    @Test func messageOverTheLimitIsDroppedWithItsRest() {
        var assembly = MessageAssembly(limit: 4)
        #expect(add(&assembly, [1, 2, 3], isEnd: false) == .incomplete)
        #expect(add(&assembly, [4, 5], isEnd: false) == .incomplete)
        #expect(add(&assembly, [6], isEnd: false) == .incomplete)
        #expect(add(&assembly, [7], isEnd: true) == .tooLarge(stream: 1))
        #expect(assembly.isEmpty)
        #expect(add(&assembly, [1, 2, 3, 4, 5], stream: 2, isEnd: true) == .tooLarge(stream: 2))
        #expect(assembly.isEmpty)
    }

    @Test func resetOfItsStreamEndsAMessage() {
        var assembly = MessageAssembly(limit: 4)
        _ = add(&assembly, [1], isEnd: false)
        assembly.incomingReset([2])
        #expect(!assembly.isEmpty)
        assembly.incomingReset([1])
        #expect(assembly.isEmpty)
        _ = add(&assembly, [1, 2, 3, 4, 5], isEnd: false)
        assembly.incomingReset([])
        #expect(assembly.isEmpty)
        _ = add(&assembly, [1], isEnd: false)
        assembly.aborted()
        #expect(
            add(&assembly, [2], isEnd: true) == .complete(MessageAssembly.Message(stream: 1, protocol: 53, bytes: [2])))
    }
}
