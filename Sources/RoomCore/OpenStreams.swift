/// The open streams of one direction, in the order of their ids.
///
/// They lie in one array: there are few at a time, and a new one has a higher id than all others, so that looking for
/// an id is faster than hashing it.
struct OpenStreams<Stream: Sendable>: Sendable {
    private(set) var ids: [UInt64] = []
    private var streams: [Stream] = []

    var count: Int { ids.count }

    /// Valid until a stream is removed.
    func index(of id: UInt64) -> Int? { ids.firstIndex(of: id) }

    subscript(index: Int) -> Stream {
        _read { yield streams[index] }
        _modify { yield &streams[index] }
    }

    subscript(id id: UInt64) -> Stream? { index(of: id).map { streams[$0] } }

    /// Adds a stream, whose id is higher than that of every other.
    mutating func append(_ stream: Stream, id: UInt64) {
        ids.append(id)
        streams.append(stream)
    }

    mutating func remove(_ id: UInt64) -> Stream? {
        guard let index = index(of: id) else { return nil }
        ids.remove(at: index)
        return streams.remove(at: index)
    }

    mutating func removeAll() {
        ids = []
        streams = []
    }
}
