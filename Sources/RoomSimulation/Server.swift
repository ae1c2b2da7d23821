internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

/// The server's machine, where it can be changed in place.
final class Server {
    var machine: RoomServerMachine
    /// The highest epoch of a session whose client has said something over it.
    var confirmed: [SessionID: Epoch] = [:]
    /// The last number of a session's stream that the machine was given.
    var taken: [SessionID: SequenceNumber] = [:]
    var timerAt: Timestamp?
    init(_ machine: RoomServerMachine) { self.machine = machine }
}
