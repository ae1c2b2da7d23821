public import TransportValues

/// The driver of one WebSocket connection's socket: the part that every signaling backend writes itself.
///
/// The toolbox does the rest. ``SignalingDialer/open(_:deadline:driver:)`` connects the socket and makes the driver.
/// Tasks use a ``WebSocketConnection``. Between the two is a ``DrivenConnection``: the driver keeps it, reports to it,
/// and moves messages between its buffers and the socket. Drivers never wait, and do not deal with tasks.
///
/// **Isolation.** The methods are called from any thread, and must return at once: they pass the work to the thread
/// that the driver's state belongs to. `start` is called first, once. The others are called in any order, any number of
/// times, also after the end, where they do nothing.
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

    /// Sends the messages in ``DrivenConnection/outbound``. Called for every message: a driver that is still working on
    /// an earlier call can ignore it.
    func flush()

    /// Resumes reading: ``DrivenConnection/inbound`` has room again.
    func resumeReading()

    /// Sends the rest of ``DrivenConnection/outbound`` and a close frame, and waits for the answer until `deadline`.
    func close(_ reason: SignalingClose, deadline: Timestamp)

    /// Closes the socket without a handshake. A last frame that is being sent may take a moment.
    func abort()
}
