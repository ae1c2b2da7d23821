internal import Hashing
internal import TransportPluginAPI

/// The greeting of the two sides. With a code, each proves to the other that it has the code and sees the same two
/// certificates, before anything about the files is said.
struct TransferHandshake {
    let code: TransferCode?
    let role: TransferProof.Role
    var nonce = Crypto.randomBytes(TransferProof.nonceLength)

    init(_ role: TransferProof.Role, _ code: TransferCode?) {
        self.role = role
        self.code = code
    }

    /// Greets, and returns when the other side has proved itself. Throws `.identity` when it cannot.
    ///
    /// The receiver speaks first: hello; hello, proof; proof.
    func perform(over link: inout TransferLink) async throws {
        let connection = link.connection
        let hello = TransferMessage.hello(
            version: TransferMessage.version, asksForProof: code != nil, nonce: nonce)
        if role == .receiver { try await connection.send(hello) }
        guard case .hello(let version, let asksForProof, let otherNonce) = try await link.message() else {
            throw TransferLink.violation
        }
        guard version == TransferMessage.version else {
            throw TransferError(
                .protocolViolation,
                "the other side speaks version \(version) of the transfer protocol, this one "
                    + "\(TransferMessage.version): update the older one")
        }
        guard asksForProof == (code != nil) else {
            throw TransferError(.identity, "one side was started with a code and the other with a room: use the same")
        }
        if role == .sender { try await connection.send(hello) }
        guard let code else { return }
        let fingerprints = try fingerprints(of: connection)
        let nonces = role == .sender ? (sender: nonce, receiver: otherNonce) : (sender: otherNonce, receiver: nonce)
        func proof(by role: TransferProof.Role) -> [UInt8] {
            TransferProof.make(
                by: role, key: code.proofKey, fingerprints, senderNonce: nonces.sender, receiverNonce: nonces.receiver)
        }
        if role == .sender { try await connection.send(.proof(proof(by: .sender))) }
        guard case .proof(let bytes) = try await link.message() else { throw TransferLink.violation }
        guard Crypto.areEqual(bytes, proof(by: role == .sender ? .receiver : .sender)) else { throw Self.wrong }
        // A certificate belongs to a process: a new connection after an outage has the same ones.
        connection.pinCertificate()
        if role == .receiver { try await connection.send(.proof(proof(by: .receiver))) }
    }

    /// The certificates by role, as this side sees them.
    private func fingerprints(of connection: any TransferConnection) throws -> TransferProof.Fingerprints {
        guard let security = connection.security else {
            throw TransferError(
                .notSupported,
                "this peer backend has no certificates, by which a code could be proved: choose another with --peer")
        }
        return role == .sender
            ? .init(sender: security.localFingerprint, receiver: security.remoteFingerprint)
            : .init(sender: security.remoteFingerprint, receiver: security.localFingerprint)
    }

    static let wrong = TransferError(
        .identity,
        "the other side could not prove that it has this code and the certificate that is seen here: the room server, "
            + "or somebody on the way to it, may be pretending to be the other side. Nothing was sent; use another "
            + "server, or make a new code")
}

extension TransferError {
    /// Tells the other side why this one ends, unless the other side has ended it, or is gone.
    func report(over connection: any TransferConnection) async {
        guard !isFromOtherSide, code != .interrupted else { return }
        try? await connection.send(.failure(code, message))
    }
}
