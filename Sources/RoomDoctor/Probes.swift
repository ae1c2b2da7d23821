// Optimized builds count `tm` as a part of the first C module that includes its header.
internal import COpenSSL
internal import Glibc
internal import TransportPluginAPI

/// Measures what `Judgement` judges. Each blocks its thread for a few seconds at most: not for the cooperative pool.
package enum Probes {
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

    /// Sends a datagram from a socket of this machine to itself. Nil: it arrived; else why not.
    package static func udpFailure() -> String? {
        do throws(ProbeFailure) {
            let socket = try ProbeDatagrams()
            _ = try socket.exchange([1], attempts: 1) { _ in true }
            return nil
        } catch {
            switch error {
            case .failed(let why): return why
            case .refused: return "it was refused"
            case .timedOut: return "it was lost"
            }
        }
    }

    /// Asks a STUN server by UDP what address it sees, for `limit` at most: the first of `addresses` that answers.
    package static func binding(
        _ addresses: [String], port: UInt16, within limit: Duration = .milliseconds(3500)
    ) -> Result<String, ProbeFailure> {
        var failure = ProbeFailure.failed("it has no address")
        let deadline = Timestamp.now() + limit
        for address in addresses where Timestamp.now() < deadline {
            do throws(ProbeFailure) {
                let binding = STUNBinding(transaction: STUNMessage.newTransaction())
                let share = min(deadline, .now() + limit / addresses.count)
                let socket = try ProbeDatagrams(address, port: port, deadline: share)
                let answer = try socket.exchange(binding.request, attempts: 3) {
                    STUNMessage($0, answering: binding.transaction) != nil
                }
                if let mapped = binding.mappedAddress(in: answer) { return .success(mapped) }
                throw .failed("it answers, but tells no address")
            } catch {
                failure = error
            }
        }
        return .failure(failure)
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
