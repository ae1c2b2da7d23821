internal import Glibc
internal import TransportPluginAPI

/// Measures what `Judgement` judges. Each blocks its thread for a few seconds at most: not for the cooperative pool.
package enum Probes {
    package static func addresses() -> [MachineAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var addresses: [MachineAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, entry.ifa_flags & UInt32(IFF_UP) != 0 else { continue }
            let family = Int32(address.pointee.sa_family)
            let size = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            guard family == AF_INET || family == AF_INET6 else { continue }
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard getnameinfo(address, socklen_t(size), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            else {
                continue
            }
            addresses.append(
                MachineAddress(
                    interface: String(cString: entry.ifa_name),
                    address: String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
                    isLoopback: entry.ifa_flags & UInt32(IFF_LOOPBACK) != 0))
        }
        return addresses
    }

    package static func receiveBufferMaximum() -> Int? {
        guard let file = fopen("/proc/sys/net/core/rmem_max", "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = fread(&bytes, 1, bytes.count, file)
        return Int(String(decoding: bytes.prefix(count), as: UTF8.self).filter(\.isNumber))
    }

    package static func descriptorLimit() -> UInt64 {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return UInt64(limit.rlim_cur)
    }

    /// How far the clock that can be set and the one that cannot went apart, and in how long, in seconds.
    package static func clockDrift() -> (drift: Double, elapsed: Double) {
        func read(_ clock: clockid_t) -> Double {
            var time = timespec()
            clock_gettime(clock, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        let before = (read(CLOCK_REALTIME), read(CLOCK_MONOTONIC))
        usleep(300_000)
        let after = (read(CLOCK_REALTIME), read(CLOCK_MONOTONIC))
        let elapsed = after.1 - before.1
        return (after.0 - before.0 - elapsed, elapsed)
    }

    /// Sends a datagram from one socket of this machine to another. Nil: it works; else what failed.
    package static func udpFailure() -> String? {
        exchange([1], with: "127.0.0.1", port: nil, attempts: 1) == nil
            ? "a datagram to this machine itself did not come back: \(String(cString: strerror(errno)))" : nil
    }

    /// Sends `request` by UDP, again after 0.5, 1 and 2 s, and returns the first answer. Without a port, to itself.
    package static func exchange(_ request: [UInt8], with address: String, port: UInt16?, attempts: Int = 3) -> [UInt8]?
    {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port ?? 0), &hints, &found) == 0, let target = found else { return nil }
        defer { freeaddrinfo(found) }
        let descriptor = socket(target.pointee.ai_family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        if port == nil {
            var length = target.pointee.ai_addrlen
            guard bind(descriptor, target.pointee.ai_addr, length) == 0,
                getsockname(descriptor, target.pointee.ai_addr, &length) == 0
            else { return nil }
        }
        var answer = [UInt8](repeating: 0, count: 1500)
        for attempt in 0..<attempts {
            guard sendto(descriptor, request, request.count, 0, target.pointee.ai_addr, target.pointee.ai_addrlen) >= 0
            else { return nil }
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&poller, 1, 500 << attempt) > 0 else { continue }
            let count = recv(descriptor, &answer, answer.count, 0)
            if count >= 0 { return Array(answer.prefix(count)) }
        }
        return nil
    }

    /// Asks by plain HTTP, for 5 s at most: the status, and the server's time in seconds since 1970 where it tells it.
    package static func get(_ path: String, host: String, address: String, port: UInt16) -> (
        status: Int?, date: Double?
    )? {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &found) == 0, let target = found else { return nil }
        defer { freeaddrinfo(found) }
        let descriptor = socket(target.pointee.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(host):\(port)\r\nConnection: close\r\n\r\n".utf8)
        guard connect(descriptor, target.pointee.ai_addr, target.pointee.ai_addrlen) == 0,
            send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
        else { return nil }
        var head: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while head.count < 16_384 {
            let count = recv(descriptor, &piece, piece.count, 0)
            guard count > 0 else { break }
            head += piece.prefix(count)
            if String(decoding: head, as: UTF8.self).contains("\r\n\r\n") { break }
        }
        return HTTPHead.parse(String(decoding: head, as: UTF8.self))
    }
}

/// The head of an HTTP answer, as far as the doctor looks at it.
package enum HTTPHead {
    package static func parse(_ text: String) -> (status: Int?, date: Double?) {
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        let first = (lines.first ?? "").split(separator: " ")
        let status = first.count >= 2 && first[0].hasPrefix("HTTP/1.") ? Int(first[1]) : nil
        let header = lines.first { $0.lowercased().hasPrefix("date:") }
        return (status, header.flatMap { date(String($0.dropFirst(5).drop { $0 == " " })) })
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    private static func date(_ text: String) -> Double? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split { " :".contains($0) }
        guard parts.count == 8, let day = Int32(parts[1]), let month = months.firstIndex(of: String(parts[2])),
            let year = Int32(parts[3]), let hour = Int32(parts[4]), let minute = Int32(parts[5]),
            let second = Int32(parts[6]), (1970...9999).contains(year)
        else { return nil }
        var time = tm()
        (time.tm_year, time.tm_mon, time.tm_mday) = (year - 1900, Int32(month), day)
        (time.tm_hour, time.tm_min, time.tm_sec) = (hour, minute, second)
        return Double(timegm(&time))
    }
}
