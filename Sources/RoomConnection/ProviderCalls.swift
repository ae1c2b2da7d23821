internal import TransportPluginAPI

struct ProviderFailure: Error {
    /// One sentence; never a secret.
    let description: String
    init(_ description: String) { self.description = description }
}

/// Asks a closure of the application for something. The closure may throw, hang, or answer when nobody listens any more: whoever asks
/// gets one answer, within `patience`, or none after `giveUp`.
///
/// SAFETY of `@unchecked Sendable`: all state is touched only on the loop.
final class ProviderCalls<Value: Sendable>: @unchecked Sendable {
    private let name: String
    private let loop: TransportLoop
    private var task: Task<Void, Never>?
    private var timer: LoopTimer?
    private var answer: ((Result<Value, ProviderFailure>) -> Void)?
    /// Counts questions: only the latest one's answer is heard.
    private var question: UInt64 = 0
    /// Calls that have not returned, given up or not.
    private var running = 0
    private static var maximum: Int { 4 }
    private static var patience: Duration { .seconds(30) }

    /// `name`: for messages, as "token provider".
    init(_ name: String, loop: TransportLoop) {
        self.name = name
        self.loop = loop
    }

    /// Gives up the question before, if there is one.
    func ask(
        _ provider: @escaping @Sendable () async throws -> Value,
        _ answer: @escaping (Result<Value, ProviderFailure>) -> Void
    ) {
        giveUp()
        guard running < Self.maximum else {
            return answer(.failure(ProviderFailure("\(running) calls of the \(name) hang")))
        }
        running += 1
        question += 1
        self.answer = answer
        // Not a child of the room's root task: a provider that hangs must not keep the room from ending. It is cancelled when it is
        // given up, and what it says then is not heard.
        task = Task { [loop, name, question, weak self] in
            let result: Result<Value, ProviderFailure>
            do {
                result = .success(try await provider())
            } catch {
                // Its text may hold a secret.
                result = .failure(ProviderFailure("the \(name) failed: \(type(of: error))"))
            }
            loop.execute { [weak self] in self?.ended(question, result) }
        }
        timer = loop.schedule(after: Self.patience) { [weak self] in
            guard let self else { return }
            finish(.failure(ProviderFailure("the \(name) has not answered within \(Int(Self.patience.inSeconds)) s")))
        }
    }

    private func ended(_ question: UInt64, _ result: Result<Value, ProviderFailure>) {
        running -= 1
        if question == self.question { finish(result) }
    }

    private func finish(_ result: Result<Value, ProviderFailure>) {
        let answer = answer
        giveUp()
        answer?(result)
    }

    /// Nothing is answered any more.
    func giveUp() {
        answer = nil
        task?.cancel()
        task = nil
        timer?.cancel()
        timer = nil
    }
}
