internal import TransportPluginAPI

struct ProviderFailure: Error {
    /// One sentence, without secrets.
    let description: String
    init(_ description: String) { self.description = description }
}

/// Calls a closure of the application for a value. The closure may throw, hang, or return too late. The caller gets one
/// answer, within `patience`, or none after `giveUp`.
///
/// SAFETY of `@unchecked Sendable`: all state is touched only on the loop.
final class ProviderCalls<Value: Sendable>: @unchecked Sendable {
    private let name: String
    private let loop: TransportLoop
    private var task: Task<Void, Never>?
    private var timer: LoopTimer?
    private var answer: ((Result<Value, ProviderFailure>) -> Void)?
    /// The number of the latest question. Answers to earlier ones are ignored.
    private var question: UInt64 = 0
    /// The number of calls that have not returned, including those that were given up.
    private var running = 0
    private static var maximum: Int { 4 }
    private static var patience: Duration { .seconds(30) }

    /// - Parameter name: The provider's name in messages, such as "token provider".
    init(_ name: String, loop: TransportLoop) {
        self.name = name
        self.loop = loop
    }

    /// Calls `provider` and passes its result to `answer`. Gives up the previous question, if there is one.
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
        // Not a child of the room's root task: a provider that hangs must not keep the room from ending. It is
        // cancelled when it is given up, and its result is then ignored.
        task = Task { [loop, name, question, weak self] in
            let result: Result<Value, ProviderFailure>
            do {
                result = .success(try await provider())
            } catch {
                // The error's text may contain a secret.
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

    /// Gives up the question: its answer is ignored.
    func giveUp() {
        answer = nil
        task?.cancel()
        task = nil
        timer?.cancel()
        timer = nil
    }
}
