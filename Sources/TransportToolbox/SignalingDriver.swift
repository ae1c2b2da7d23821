public import TransportValues

/// Drives the socket of one WebSocket connection: the part of a signaling backend that is its own.
///
/// The toolbox does the rest. ``SignalingDialer/open(_:deadline:driver:)`` connects the socket and makes the driver,
/// tasks use a ``WebSocketConnection``, and between the two stands a ``DrivenConnection``: the driver keeps it, tells
/// it what happens, and moves messages between its buffers and the socket. Drivers never wait, and know of no task.
///
/// **Isolation.** The methods are called from any thread, and must return at once: they hand the work to the thread
/// that the driver's state belongs to. `start` comes first, once. The others come in any order, any number of times,
/// also after the end, where they do nothing.
///
/// **The life of a driver.** It reports ``DrivenConnection/opened(from:)`` or ``DrivenConnection/failed(_:)``; then,
/// when it was opened, ``DrivenConnection/closedByPeer(_:)`` or ``DrivenConnection/connectionLost(_:)`` unless this
/// side closes first; and at last, when the socket is closed, ``DrivenConnection/ended()``. A driver keeps itself alive
/// from `start` to that moment (its loop does, by what it watches); one that was never started closes its socket when
/// it is released.
public protocol SignalingDriver: AnyObject, Sendable {
    /// Begins TLS, where the endpoint asks for it, and the opening handshake; both must be done by
    /// ``DrivenConnection/openingDeadline``.
    func start()

    /// There is something in ``DrivenConnection/outbound``. Called for every message: a driver that has work under way
    /// for an earlier call needs no more.
    func flush()

    /// There is room in ``DrivenConnection/inbound`` again, after it had none.
    func resumeReading()

    /// Sends what is left in ``DrivenConnection/outbound``, then a close frame, and waits for the answer until
    /// `deadline`.
    func close(_ reason: SignalingClose, deadline: Timestamp)

    /// Closes the socket without a handshake. A frame that ends a connection and is on its way may have a moment.
    func abort()
}
