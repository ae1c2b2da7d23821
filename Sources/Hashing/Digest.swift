internal import COpenSSL

/// A SHA-256 that is computed piece by piece (FIPS 180-4).
///
/// SAFETY of `@unchecked Sendable`: the context is reached only by the owner of the value, which is not copyable.
package struct RunningDigest: ~Copyable, @unchecked Sendable {
    private let context: OpaquePointer?
    package private(set) var count: UInt64

    package init() { self.init(count: 0) }

    private init(count: UInt64) {
        self.count = count
        context = EVP_MD_CTX_new()
        if let context { EVP_DigestInit_ex(context, EVP_sha256(), nil) }
    }

    deinit { EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let context, !bytes.isEmpty else { return }
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        count += UInt64(bytes.count)
    }

    /// A digest that goes on from here by itself.
    package func copy() -> RunningDigest {
        let copy = RunningDigest(count: count)
        if let source = context, let target = copy.context { EVP_MD_CTX_copy_ex(target, source) }
        return copy
    }

    /// The digest of everything so far; more can follow.
    package var value: Digest {
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        guard let context, let copy = EVP_MD_CTX_new() else { return Digest(bytes: Crypto.randomBytes(32)) }
        defer { EVP_MD_CTX_free(copy) }
        guard EVP_MD_CTX_copy_ex(copy, context) == 1, EVP_DigestFinal_ex(copy, &bytes, &length) == 1 else {
            // It can fail only for lack of memory. An unpredictable digest matches nothing.
            return Digest(bytes: Crypto.randomBytes(32))
        }
        return Digest(bytes: Array(bytes.prefix(Int(length))))
    }
}

/// A SHA-256: 32 bytes.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
    package static let length = 32
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) { self.bytes = bytes }

    /// Hexadecimal, as `sha256sum` prints it.
    package var description: String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }
}
