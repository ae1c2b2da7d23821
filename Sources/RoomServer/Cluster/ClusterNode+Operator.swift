internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import RoomCluster
internal import RoomProtocol
internal import TransportValues

/// The other nodes of a cluster, for the admin API of one of them.
struct AdminPeers: Sendable {
    /// The name of this node.
    let node: String
    private let cluster: NIOLoopBound<ClusterNode>

    init(_ cluster: NIOLoopBound<ClusterNode>, node: String) {
        self.cluster = cluster
        self.node = node
    }

    /// Asks the node that owns the room. Nil: no other node does. Fails with an `AdminError`.
    func ask(ownerOf room: RoomName, _ request: AdminRequest) -> EventLoopFuture<HTTPResponse?> {
        cluster.eventLoop.flatSubmit { [cluster] in cluster.value.ask(ownerOf: room, request) }
    }

    /// Asks all other nodes: the answers of those that have answered in time.
    func askAll(
        _ request: AdminRequest
    ) -> EventLoopFuture<(answers: [(node: String, response: HTTPResponse)], isComplete: Bool)> {
        cluster.eventLoop.flatSubmit { [cluster] in cluster.value.askAll(request) }
    }
}

extension AdminError {
    fileprivate static let storeAway = AdminError(
        status: "503 Service Unavailable", code: "store_away",
        message: "This node does not have the room, and the cluster's store does not say which one has it: try again.")
    fileprivate static let ownerUnreachable = AdminError(
        status: "502 Bad Gateway", code: "owner_unreachable",
        message: "The node that has the room does not answer. A change may still happen: look again.")
}

/// Requests of the admin API about rooms of other nodes. Each goes over a link of its own, so that it does not depend
/// on those that carry clients.
extension ClusterNode {
    /// The time for another node's answer, with the way there.
    private static let answerLimit = TimeAmount.seconds(3)
    /// Questions of other nodes that are being answered.
    private static let questionLimit = 64

    fileprivate func ask(ownerOf room: RoomName, _ request: AdminRequest) -> EventLoopFuture<HTTPResponse?> {
        let promise = eventLoop.makePromise(of: HTTPResponse?.self)
        ask(.readRoom(room)) { reply in
            switch reply {
            case .owner(let record, let lease) where record.node.rawValue != self.node:
                self.ask(lease, request).map { $0 }.cascade(to: promise)
            case .failed: promise.fail(AdminError.storeAway)
            case .owner, .free, .renewed, .superseded, .claimed, .nodes, .noLease, .asserted, .done:
                promise.succeed(nil)
            }
        }
        return promise.futureResult
    }

    fileprivate func askAll(
        _ request: AdminRequest
    ) -> EventLoopFuture<(answers: [(node: String, response: HTTPResponse)], isComplete: Bool)> {
        let promise = eventLoop.makePromise(
            of: (answers: [(node: String, response: HTTPResponse)], isComplete: Bool).self)
        ask(.readNodes) { reply in
            guard case .nodes(let nodes) = reply else { return promise.succeed(([], false)) }
            let questions = nodes.filter { $0.node.rawValue != self.node }.map { lease in
                let node = lease.node.rawValue
                return self.ask(lease, request).map { (node: node, response: $0) }
            }
            EventLoopFuture.whenAllComplete(questions, on: self.eventLoop).map { results in
                let answers = results.compactMap { try? $0.get() }
                return (answers: answers, isComplete: answers.count == results.count)
            }.cascade(to: promise)
        }
        return promise.futureResult
    }

    private func ask(_ lease: NodeLease, _ request: AdminRequest) -> EventLoopFuture<HTTPResponse> {
        let promise = eventLoop.makePromise(of: HTTPResponse.self)
        let question = LinkQuestion(method: request.method, from: "\(node) \(request.remote)", target: request.target)
        let link = makeLink(to: lease.node) { link, event in
            switch event {
            case .ready: link.ask(question)
            case .frame(.answer(_, let answer)):
                promise.succeed(HTTPResponse(answer))
                link.fail(.closed, "answered")
            case .frame, .resume: break
            case .ended: promise.fail(AdminError.ownerUnreachable)
            }
        }
        let timer = eventLoop.assumeIsolated().scheduleTask(in: Self.answerLimit) {
            link.fail(.silent, "it does not answer")
        }
        promise.futureResult.whenComplete { _ in timer.cancel() }
        connect(link, to: lease.address)
        return promise.futureResult
    }

    // MARK: The node that is asked

    /// Answers the question of another node about this node's rooms.
    func answer(_ question: LinkQuestion, _ id: StreamID, over link: LinkHandler) {
        guard questions < Self.questionLimit else { return link.answer(id, LinkAnswer(.busy)) }
        guard let request = AdminRequest(question), request.path.starts(with: ["v1", "rooms"]) else {
            return link.answer(id, LinkAnswer(AdminError.noSuchPath.response))
        }
        metrics.questions.add()
        questions += 1
        desk.answer(request).assumeIsolated().whenSuccess { answer in
            self.questions -= 1
            guard case .response(let response) = answer else { return }
            link.answer(id, LinkAnswer(response))
        }
    }
}

extension HTTPResponse {
    fileprivate static let busy = AdminError(
        status: "503 Service Unavailable", code: "busy", message: "The node that has the room answers too many others."
    ).response

    fileprivate init(_ answer: LinkAnswer) {
        self.init(
            status: answer.status,
            headers: [("Content-Type", "application/json"), ("Cache-Control", "no-store")], body: answer.body)
    }
}

extension LinkAnswer {
    /// An answer that a frame has no place for becomes an error.
    fileprivate init(_ response: HTTPResponse) {
        guard response.body.count <= Limits.serverMessageBytes else {
            let error = AdminError(
                status: "507 Insufficient Storage", code: "too_large",
                message:
                    "The answer is too large for the way between nodes: ask the node that has the room, or for less.")
            self.init(error.response)
            return
        }
        self.init(status: response.status, body: response.body)
    }
}

extension AdminRequest {
    fileprivate init?(_ question: LinkQuestion) {
        self.init(question.method, question.target, remote: question.from)
    }
}
