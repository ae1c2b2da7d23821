internal import Glibc
internal import TransportPluginAPI

/// Makes the measurements for `Judgement`. Each blocks its thread for at most a few seconds: not for the cooperative
/// pool.
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

    /// Sends a datagram from a socket of this machine to itself. Returns nil when it arrived, or else the reason.
    package static func udpFailure() -> String? {
        do throws(ProbeFailure) {
            let socket = try ProbeDatagrams()
            _ = try socket.exchange([1], attempts: 1) { _ in true }
            return nil
        } catch {
            switch error {
            case .failed(let reason): return reason
            case .refused: return "it was refused"
            case .timedOut: return "it was lost"
            }
        }
    }

    /// Asks a STUN server by UDP for this machine's address, within `limit`: the first of `addresses` that answers.
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
                throw .failed("it answers, but without an address")
            } catch {
                failure = error
            }
        }
        return .failure(failure)
    }
}
