internal import CNice
internal import Glibc
internal import TransportPluginAPI

/// A second socket on the address and port of one of libnice's, for the datagrams that do not belong to ICE.
///
/// The kernel sorts by the first byte (RFC 7983): DTLS comes here, as do the answers of STUN servers that were asked
/// from here; everything else goes to libnice. So a payload never passes through libnice or GLib, and ICE sees all of
/// its own packets. Where the system cannot sort (`init` returns nil), everything goes the slow way, through libnice.
final class DataSocket {
    /// libnice's descriptor.
    let original: Int32
    /// The address of both.
    let localAddress: IPAddress
    let localPort: UInt16
    private let descriptor: Int32
    private var watch: LoopWatch?
    private var canSegment = true

    /// Bytes of the kernel's buffers, each way. The system's own limit may be lower.
    private static let bufferSize: Int32 = 4 << 20
    /// The kernel's limits of one call (UDP_MAX_SEGMENTS; 65,535 with headers).
    private static let maximumSegments: Int32 = 64
    private static let maximumRun: Int32 = 65_000

    /// `onReadable` is called on the loop for each turn in which datagrams wait.
    init?(splitting original: Int32, on loop: TransportLoop, onReadable: @escaping (Int32) -> Void) {
        let descriptor = CNice_split(original, Self.bufferSize, STUNBinding.mark)
        guard descriptor >= 0 else { return nil }
        guard let (address, port) = localName(of: descriptor) else {
            Glibc.close(descriptor)
            return nil
        }
        self.original = original
        localAddress = address
        localPort = port
        self.descriptor = descriptor
        do throws(TransportError) {
            watch = try loop.watch(descriptor, for: .readable) { _ in onReadable(descriptor) }
        } catch {
            Glibc.close(descriptor)
            return nil
        }
    }

    /// Lets the kernel hand over many datagrams in one piece (GRO), which only pays, and is only safe, when the other
    /// side is on this machine: what it sent in one piece arrives in one piece. On a network's packets the kernel puts
    /// pieces together before it sorts them, and STUN could end up in the middle of data.
    func setAggregation(_ isOn: Bool) { CNice_set_aggregation(descriptor, isOn ? 1 : 0) }

    func close() {
        guard let watch else { return }
        watch.cancel()
        self.watch = nil
        Glibc.close(descriptor)
    }

    /// Whether this system can sort datagrams. Tried once.
    static let isSupported: Bool = {
        let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { if socket >= 0 { Glibc.close(socket) } }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isBound, case let twin = CNice_split(socket, 4096, STUNBinding.mark), twin >= 0 else { return false }
        Glibc.close(twin)
        return true
    }()

    /// Sends one small datagram to a server. One that the kernel does not take is lost.
    func ask(_ bytes: [UInt8], _ server: IPEndpoint) {
        server.host.withSocketAddress(port: server.port) { address, size in
            _ = sendto(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT), address, size)
        }
    }

    /// Sends all of `batch`. Neighbours of equal size leave in one call (GSO). Datagrams that the kernel does not take
    /// are dropped.
    func send(_ batch: DatagramBatch, to address: UnsafePointer<sockaddr_storage>, size: socklen_t) {
        if batch.count == 1 {
            let datagram = batch[0]
            let length = Int32(truncatingIfNeeded: datagram.count)
            var run = CNice_run(bytes: datagram.baseAddress, length: length, segment: length)
            transmit(&run, 1, address, size)
            return
        }
        withUnsafeTemporaryAllocation(of: CNice_run.self, capacity: CNice_slots) { runs in
            var count = 0
            var segments: Int32 = 0
            for index in 0..<batch.count {
                let datagram = batch[index]
                let length = Int32(truncatingIfNeeded: datagram.count)
                if count > 0, canSegment {
                    let run = runs[count - 1]
                    // Only the last datagram of a run may be shorter than the others.
                    if length > 0, length <= run.segment, run.length == run.segment * segments,
                        segments < Self.maximumSegments, run.length + length <= Self.maximumRun,
                        run.bytes + Int(run.length) == datagram.baseAddress
                    {
                        runs[count - 1].length += length
                        segments += 1
                        continue
                    }
                }
                if count == runs.count {
                    transmit(runs.baseAddress!, count, address, size)
                    count = 0
                }
                runs.initializeElement(
                    at: count, to: CNice_run(bytes: datagram.baseAddress, length: length, segment: length))
                segments = 1
                count += 1
            }
            transmit(runs.baseAddress!, count, address, size)
        }
    }

    private func transmit(
        _ runs: UnsafeMutablePointer<CNice_run>, _ count: Int, _ storage: UnsafePointer<sockaddr_storage>,
        _ size: socklen_t
    ) {
        storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            var next = 0
            while next < count {
                let sent = CNice_send(descriptor, address, size, runs + next, Int32(count - next))
                if sent > 0 {
                    next += Int(sent)
                    continue
                }
                switch -sent {
                case EINTR: continue
                case EAGAIN, ENOBUFS, ENOMEM: return
                case EINVAL, EIO, EMSGSIZE, EOPNOTSUPP:
                    // The path cannot segment (a small MTU, no checksum offload), or one datagram is too large for it.
                    if runs[next].length > runs[next].segment {
                        canSegment = false
                        sendSingly(runs[next], address, size)
                    }
                    next += 1
                default:
                    // No route now, or refused by a firewall: lost, as on the way.
                    next += 1
                }
            }
        }
    }

    private func sendSingly(_ run: CNice_run, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) {
        var offset: Int32 = 0
        while offset < run.length {
            let length = min(run.segment, run.length - offset)
            var single = CNice_run(bytes: run.bytes + Int(offset), length: length, segment: length)
            let sent = CNice_send(descriptor, address, size, &single, 1)
            if sent == -EAGAIN || sent == -ENOBUFS { return }
            offset += length
        }
    }
}

/// The address and port that a socket is bound to.
private func localName(of descriptor: Int32) -> (IPAddress, UInt16)? {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            guard getsockname(descriptor, address, &size) == 0, let host = IPAddress(address) else { return nil }
            return (host, IPAddress.port(of: address))
        }
    }
}
