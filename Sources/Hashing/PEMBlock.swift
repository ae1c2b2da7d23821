internal import COpenSSL

/// One block of a PEM file (RFC 7468).
package struct PEMBlock: Sendable {
    /// The text between `-----BEGIN ` and `-----`.
    package var label: String
    /// The text before the block: explanations (§5.2).
    package var preamble: String
    /// Whether the content is encrypted in the older form, with headers.
    package var hasHeaders: Bool
    package var content: [UInt8]

    /// Reads all blocks. Returns nil when one of them is damaged.
    package static func read(_ bytes: [UInt8]) -> [PEMBlock]? {
        let begin = "-----BEGIN "
        var blocks: [PEMBlock] = []
        var preamble = ""
        var lines = String(decoding: bytes, as: UTF8.self).split(
            omittingEmptySubsequences: false, whereSeparator: \.isNewline)[...]
        while let line = lines.first {
            guard line.hasPrefix(begin) else {
                preamble += line + "\n"
                lines.removeFirst()
                continue
            }
            guard let end = lines.firstIndex(where: { $0.hasPrefix("-----END ") }),
                let block = PEMBlock(lines[...end].joined(separator: "\n") + "\n", after: preamble)
            else { return nil }
            blocks.append(block)
            preamble = ""
            lines = lines[(end + 1)...]
        }
        return blocks
    }

    private init?(_ text: String, after preamble: String) {
        let bytes = Array(text.utf8)
        guard let input = BIO_new(BIO_s_mem()) else { return nil }
        var name: UnsafeMutablePointer<CChar>?
        var header: UnsafeMutablePointer<CChar>?
        var data: UnsafeMutablePointer<UInt8>?
        var count = 0
        defer {
            BIO_free(input)
            CRYPTO_free(name, nil, 0)
            CRYPTO_free(header, nil, 0)
            CRYPTO_free(data, nil, 0)
            ERR_clear_error()
        }
        guard BIO_write(input, bytes, Int32(clamping: bytes.count)) == bytes.count,
            PEM_read_bio(input, &name, &header, &data, &count) == 1, let name, let header, let data
        else { return nil }
        label = String(cString: name)
        hasHeaders = header.pointee != 0
        content = Array(UnsafeBufferPointer(start: data, count: count))
        self.preamble = preamble
    }
}
