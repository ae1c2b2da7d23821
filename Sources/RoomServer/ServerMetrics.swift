internal import Metrics
internal import RoomProtocol
internal import RoomServerCore

/// The metrics of the server. Their names begin with `room_server_`.
struct ServerMetrics {
    private let rooms = Gauge(label: "room_server_rooms")
    private let participants = Gauge(label: "room_server_participants")
    private let connections = Gauge(label: "room_server_connections")
    private let messagesReceived = Counter(label: "room_server_messages_received")
    private let messagesSent = Counter(label: "room_server_messages_sent")
    private let violations = Counter(label: "room_server_websocket_violations")
    private let slowClients = Counter(label: "room_server_slow_clients")
    private let addressRefusals = Counter(label: "room_server_address_refusals")

    func record(_ load: ServerLoad) {
        rooms.record(load.rooms)
        participants.record(load.participants)
        connections.record(load.connections)
    }

    func received() { messagesReceived.increment() }
    func sent() { messagesSent.increment() }
    func violated() { violations.increment() }
    func overflowed() { slowClients.increment() }
    func refusedAddress() { addressRefusals.increment() }

    func refused(_ code: ProtocolError.Code) {
        Counter(label: "room_server_refusals", dimensions: [("code", code.rawValue)]).increment()
    }
}
