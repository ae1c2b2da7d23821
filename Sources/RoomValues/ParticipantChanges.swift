package import RoomProtocol

/// The difference between two states of a participant.
public struct ParticipantChanges: Sendable, Hashable {
    /// The keys of metadata that are new, have another value, or are gone.
    public let metadata: Set<String>
    /// Whether the participant became the host, or is not the host any more.
    public let isHostRole: Bool
    /// Whether the participant came back with a higher epoch.
    public let hasRejoined: Bool

    package init(from former: Participant, to participant: Participant) {
        metadata = participant.metadata.keysChanged(since: former.metadata)
        isHostRole = former.isHost != participant.isHost
        hasRejoined = participant.epoch > former.epoch
    }
}

extension [String: String] {
    /// The keys that are new, have another value (compared by bytes), or are gone.
    package func keysChanged(since former: Self) -> Set<String> {
        var changed = Set(former.keys.filter { self[$0] == nil })
        for (key, value) in self where former[key]?.hasSameBytes(as: value) != true { changed.insert(key) }
        return changed
    }
}
