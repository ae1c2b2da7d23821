internal import TransportPluginAPI

/// Decides which state and which path an agent reports, from libnice's states. Pure.
struct ConnectivityMachine: Equatable {
    /// The states of libnice's component that matter here.
    enum Component: Equatable {
        case connecting
        case connected
        /// Connected, and nothing is left to check.
        case ready
        case failed
    }

    private var state = ICEAgentState.new
    private(set) var selectedPath: PeerPath?
    /// libnice has nothing left to check.
    private(set) var isReady = false

    /// Returns the state to report, nil for none.
    mutating func changed(to component: Component) -> ICEAgentState? {
        isReady = component == .ready
        let new: ICEAgentState =
            switch component {
            case .connecting: .checking
            case .connected, .ready: .connected
            case .failed: .failed
            }
        // libnice goes back to CONNECTING when a late candidate brings new checks; the selected pair still works.
        guard new != state, !(new == .checking && selectedPath != nil) else { return nil }
        state = new
        return new
    }

    /// A pair was selected. False when its path is the one before.
    mutating func selected(_ path: PeerPath) -> Bool {
        guard path != selectedPath else { return false }
        selectedPath = path
        return true
    }

    /// The agent is closed.
    mutating func closed() { selectedPath = nil }
}
