internal import CGLib
internal import CNice

/// The callbacks of libnice, all on the loop's thread. They get the agent unretained: it outlives its connection to
/// them.
enum Callbacks {
    static func connect(_ nice: OpaquePointer, _ stream: guint, _ context: OpaquePointer, _ data: gpointer) {
        CNice_connect(nice, onCandidate, onGatheringDone, onFirstRequest, onSelectedPair, onState, data)
        nice_agent_attach_recv(nice, stream, NiceAgentHandle.component, context, onReceive, data)
    }

    static func disconnect(_ nice: OpaquePointer, _ stream: guint, _ context: OpaquePointer, _ data: gpointer) {
        CNice_disconnect(nice, data)
        nice_agent_attach_recv(nice, stream, NiceAgentHandle.component, context, nil, nil)
    }

    /// The end of `nice_agent_close_async`, which was given a retained agent.
    static let onClosed: GAsyncReadyCallback = { _, _, data in
        if let data { Unmanaged<LibniceAgent>.fromOpaque(data).takeRetainedValue().dispose() }
    }

    private static let onCandidate: CNice_candidate_callback = { _, candidate, data in
        if let candidate { agent(data)?.found(candidate) }
    }

    private static let onGatheringDone: CNice_stream_callback = { _, _, data in agent(data)?.gatheringDone() }

    private static let onFirstRequest: CNice_stream_callback = { _, _, data in agent(data)?.requestReceived() }

    private static let onSelectedPair: CNice_pair_callback = { _, _, _, local, remote, data in
        if let local, let remote { agent(data)?.selected(local: local, remote: remote) }
    }

    private static let onState: CNice_state_callback = { _, _, _, state, data in
        guard let component = component(NiceComponentState(rawValue: state)) else { return }
        agent(data)?.changed(to: component)
    }

    private static let onReceive: NiceAgentRecvFunc = { _, _, _, length, bytes, data in
        agent(data)?.received(UnsafeRawBufferPointer(start: bytes, count: Int(length)))
    }

    private static func component(_ state: NiceComponentState) -> ConnectivityMachine.Component? {
        switch state {
        case NICE_COMPONENT_STATE_CONNECTING: .connecting
        case NICE_COMPONENT_STATE_CONNECTED: .connected
        case NICE_COMPONENT_STATE_READY: .ready
        case NICE_COMPONENT_STATE_FAILED: .failed
        default: nil
        }
    }

    private static func agent(_ data: gpointer?) -> LibniceAgent? {
        data.map { Unmanaged<LibniceAgent>.fromOpaque($0).takeUnretainedValue() }
    }
}
