internal import RoomCore
public import RoomProtocol
public import RoomValues
public import TransportPluginAPI

extension Room {
    // MARK: Asking

    /// Asks one participant, and returns its answer: bytes for bytes.
    ///
    /// The request and the answer are delivered exactly once and survive outages in between, as long as both sides keep
    /// their session. The time runs from the call on, and includes waiting for the join and for the connection. At most
    /// 64 requests to one participant are under way; further ones wait for their turn. When the calling task is
    /// cancelled or the time is over, the handler's task is cancelled, too. Whether the handler has done its work is
    /// unknown after any error but `.unknownMethod`, `.busy`, `.notSupported`, `.unencodable`.
    ///
    /// Throws `RequestError`.
    ///
    /// - Parameters:
    ///   - method: The name of the method: 1 to 64 bytes.
    ///   - body: The request's bytes.
    ///   - participant: Who is asked: its id, or its entry in `participants`.
    ///   - timeout: At most about 49 days; nil: without limit.
    public nonisolated(nonsending) func request(
        _ method: String, _ body: Payload = Payload([]), to participant: any ParticipantReference,
        timeout: Duration? = .seconds(30)
    ) async throws(RequestError) -> Payload {
        try await ask(method, body, isText: false, participant.participantID, timeout)
    }

    /// Asks one participant with a value, and returns the value of its answer, both as JSON. Otherwise as
    /// `request(_:_:to:timeout:)`.
    public nonisolated(nonsending) func request<Request: Codable & Sendable, Answer: Codable & Sendable>(
        _ method: String, _ value: Request, of answer: Answer.Type, to participant: any ParticipantReference,
        timeout: Duration? = .seconds(30)
    ) async throws(RequestError) -> Answer {
        try await request(
            method, value, encoding: JSONMessageCodec<Request>(), decoding: JSONMessageCodec<Answer>(),
            to: participant, timeout: timeout)
    }

    /// Asks one participant with a value, and returns the value of its answer, in the formats of two codecs. Otherwise
    /// as `request(_:_:to:timeout:)`.
    public nonisolated(nonsending) func request<Request: Sendable, Answer: Sendable>(
        _ method: String, _ value: Request, encoding: any MessageCodec<Request>,
        decoding: any MessageCodec<Answer>, to participant: any ParticipantReference, timeout: Duration? = .seconds(30)
    ) async throws(RequestError) -> Answer {
        let participant = participant.participantID
        let body: Payload
        do {
            body = try encoding.encode(value)
        } catch {
            throw RequestError(
                .unencodable, method: method, of: participant, "the request cannot be encoded: \(error)")
        }
        let answer = try await ask(method, body, isText: encoding.isText, participant, timeout)
        do {
            return try decoding.decode(answer)
        } catch {
            throw RequestError(
                .undecodable, method: method, of: participant, "the answer cannot be decoded: \(error)")
        }
    }

    private nonisolated(nonsending) func ask(
        _ method: String, _ body: Payload, isText: Bool, _ participant: ParticipantID, _ timeout: Duration?
    ) async throws(RequestError) -> Payload {
        func failure(_ code: RequestError.Code, _ message: String) -> RequestError {
            RequestError(code, method: method, of: participant, message)
        }
        guard Self.isValidName(method) else {
            throw failure(
                .unknownMethod, "the name has \(method.utf8.count) bytes: it needs 1 to \(ExchangeLimits.name)")
        }
        let deadline = timeout.map { Timestamp.now() + $0 }
        let exchange: PeerExchange
        do throws(RoomError) {
            if try hub.link(to: participant) == nil { try await waitUntilJoined(before: deadline) }
            exchange = try await self.exchange(with: participant)
        } catch {
            switch error.code {
            case .peerNotFound: throw failure(.peerGone, error.message)
            case .notSupported: throw failure(.notSupported, error.message)
            case .timedOut: throw failure(.timedOut, error.message)
            case .cancelled: throw failure(.cancelled, error.message)
            default: throw failure(.left, error.message)
            }
        }
        switch await exchange.request(method, body, isText: isText, deadline: deadline) {
        case .answer(let answer, _): return answer
        case .failure(let code, let message):
            if let code = RequestError.Code(wire: code) { throw failure(code, message) }
            var error = failure(.refused, message)
            error.failure = RequestFailure(code, message)
            throw error
        case .timedOut: throw failure(.timedOut, "no answer within \(timeout ?? .zero)")
        case .cancelled: throw failure(.cancelled, "the request was cancelled")
        case .tooLarge(let limit):
            throw failure(.tooLarge, "the request has \(body.count) bytes, over the limit of \(limit)")
        case .gone, .proceed, .bufferFull: throw failure(.peerGone, "the participant has left the room, or come anew")
        }
    }

    /// Waits for the join. A deadline of this request does not end the join of the room.
    private nonisolated(nonsending) func waitUntilJoined(before deadline: Timestamp?) async throws(RoomError) {
        guard let deadline else { return try await engine.waitUntilJoined(within: nil) }
        let end = await withTaskGroup(of: RoomError?.self) { group in
            group.addTask { [engine] in
                do throws(RoomError) {
                    try await engine.waitUntilJoined(within: nil)
                    return nil
                } catch {
                    return error
                }
            }
            group.addTask { [name] in
                try? await Task.sleep(for: max(.zero, deadline - .now()))
                return RoomError(.timedOut, "the room '\(name)' was not joined in time", isRetryable: true)
            }
            let end = await group.next() ?? nil
            group.cancelAll()
            return end
        }
        if Task.isCancelled { throw RoomError(.cancelled, "the request was cancelled") }
        if let end { throw end }
    }

    // MARK: Answering

    /// Handles a method: bytes for bytes. The returned registration ends it; it stays until the room is left otherwise.
    ///
    /// Each request runs `handler` in a task of its own, at most 64 at a time for each caller, in no particular order.
    /// The task is cancelled when the caller cancels, when its time is over, and when it leaves. A handler that throws
    /// `RequestFailure` gives the caller its code and message; of any other error the caller learns only that the
    /// handler has failed. For 500 ms after the join requests for methods without a handler wait for one; then they
    /// fail at once.
    ///
    /// Throws `RoomError.Code.configuration` when the method has a handler already, or its name cannot be used (1…64
    /// bytes of UTF-8).
    ///
    /// - Parameters:
    ///   - method: The name of the method: 1 to 64 bytes.
    ///   - executor: Where the tasks run; nil: on the pool. With the room's own `executor` a request and its answer
    ///     take no thread hop. Everything else on the loop waits for such a handler, so it must be quick and never
    ///     block.
    ///   - handler: Answers a request.
    @discardableResult
    public func handle(
        _ method: String, on executor: (any TaskExecutor)? = nil,
        _ handler: @escaping @Sendable (_ body: Payload, _ caller: ParticipantID) async throws -> Payload
    ) throws(RoomError) -> RequestHandler {
        try addHandler(method, executor) { body, _, caller in (try await handler(body, caller), isText: false) }
    }

    /// Handles a method with values, both as JSON. Otherwise as `handle(_:_:)`.
    @discardableResult
    public func handle<Request: Codable & Sendable, Answer: Codable & Sendable>(
        _ method: String, of request: Request.Type, on executor: (any TaskExecutor)? = nil,
        _ handler: @escaping @Sendable (_ request: Request, _ caller: ParticipantID) async throws -> Answer
    ) throws(RoomError) -> RequestHandler {
        try handle(
            method, decoding: JSONMessageCodec<Request>(), encoding: JSONMessageCodec<Answer>(), on: executor, handler)
    }

    /// Handles a method with values, in the formats of two codecs. Otherwise as `handle(_:_:)`.
    @discardableResult
    public func handle<Request: Sendable, Answer: Sendable>(
        _ method: String, decoding: any MessageCodec<Request>, encoding: any MessageCodec<Answer>,
        on executor: (any TaskExecutor)? = nil,
        _ handler: @escaping @Sendable (_ request: Request, _ caller: ParticipantID) async throws -> Answer
    ) throws(RoomError) -> RequestHandler {
        try addHandler(method, executor) { body, _, caller in
            let request: Request
            do { request = try decoding.decode(body) } catch { throw UndecodableRequest() }
            return (try encoding.encode(try await handler(request, caller)), isText: encoding.isText)
        }
    }

    private func addHandler(
        _ method: String, _ executor: (any TaskExecutor)?,
        _ run: @escaping @Sendable (Payload, Bool, ParticipantID) async throws -> (Payload, isText: Bool)
    ) throws(RoomError) -> RequestHandler {
        guard Self.isValidName(method) else {
            throw RoomError(
                .configuration, "the method name has \(method.utf8.count) bytes: it needs 1 to \(ExchangeLimits.name)")
        }
        let key = ByteText(method)
        guard let id = hub.exchange.addHandler(key, on: executor, run) else {
            throw RoomError(.configuration, "the method '\(method)' has a handler already: remove that one first")
        }
        return RequestHandler(method: method) { [exchange = hub.exchange] in exchange.removeHandler(key, id) }
    }
}

/// The registration of a handler.
public final class RequestHandler: Sendable {
    /// The method.
    public let method: String
    private let onRemove: @Sendable () -> Void

    init(method: String, onRemove: @escaping @Sendable () -> Void) {
        self.method = method
        self.onRemove = onRemove
    }

    /// Removes the handler: requests from now on fail as of an unknown method. Those that run are finished. Idempotent.
    public func remove() { onRemove() }
}
