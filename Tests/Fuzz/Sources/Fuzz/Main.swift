import CFuzzer

/// `Fuzz TARGET [libFuzzer's own arguments and corpora]`; without arguments, prints the names of the targets.
@main
struct Main {
    static let targets: [(name: String, run: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt)] = [
        ("client-message", { run(clientMessage, $0, $1) }),
        ("server-message", { run(serverMessage, $0, $1) }),
        ("delivery", { run(delivery, $0, $1) }),
        ("exchange", { run(exchange, $0, $1) }),
        ("session-description", { run(sessionDescription, $0, $1) }),
        ("candidate", { run(candidate, $0, $1) }),
        ("channel-open", { run(channelOpen, $0, $1) }),
        ("websocket", { run(webSocket, $0, $1) }),
        ("http-head", { run(httpHead, $0, $1) }),
        ("websocket-client", { run(webSocketClient, $0, $1) }),
        ("response-head", { run(responseHead, $0, $1) }),
        ("proxy", { run(proxy, $0, $1) }),
        ("time-per-byte", { run(timePerByte, $0, $1) }),
    ]

    static func main() {
        let arguments = CommandLine.unsafeArgv
        guard CommandLine.argc > 1, let name = arguments[1].map({ String(cString: $0) }) else {
            for target in targets { print(target.name) }
            return
        }
        guard let target = targets.first(where: { $0.name == name }) else {
            fatalError("no target is named \(name)")
        }
        // libFuzzer sees the program's name and the arguments after the target's.
        arguments[1] = arguments[0]
        var count = CommandLine.argc - 1
        let rest: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = arguments + 1
        var pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = rest
        _ = LLVMFuzzerRunDriver(&count, &pointer, target.run)
    }

    private static func run(_ decode: (UnsafeRawBufferPointer) -> Void, _ bytes: UnsafePointer<UInt8>?, _ count: Int)
        -> CInt
    {
        decode(UnsafeRawBufferPointer(start: bytes, count: count))
        return 0
    }
}

/// Checks a rule that must hold for every input. A violation is a crash, so that libFuzzer keeps the input.
func require(_ isTrue: Bool, _ rule: StaticString) {
    if !isTrue { fatalError("\(rule)") }
}
