/// The reason why a transfer ended before everything had arrived.
package struct TransferError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of a failure. The raw values travel to the other side.
    package enum Code: String, Sendable, CaseIterable {
        /// The person or program on the other side does not want the files.
        case declined
        /// The two sides do not have the same code, or somebody sits between them.
        case identity
        /// A file of that name is there already.
        case exists
        /// A name that must not arrive, or cannot be sent.
        case unsafeName = "unsafe_name"
        /// There is not enough space on the disk.
        case noSpace = "no_space"
        /// More files, bytes or levels of folders than are taken.
        case tooLarge = "too_large"
        /// A file or folder could not be read or written.
        case file
        /// A file differs from what was sent: damaged on the way, or changed while it was read.
        case damaged
        /// The other side does not keep the protocol, or speaks another version.
        case protocolViolation = "protocol_violation"
        /// Somebody else is being served.
        case busy
        /// The other side is gone. What has arrived is kept.
        case interrupted
        /// The connection cannot prove what a code asks for.
        case notSupported = "not_supported"
    }

    package let code: Code
    /// A sentence for people: what happened, to what, and what to do.
    package let message: String
    /// Whether the other side has ended the transfer, and this is its message.
    package let isFromOtherSide: Bool

    package init(_ code: Code, _ message: String, isFromOtherSide: Bool = false) {
        self.code = code
        self.message = message
        self.isFromOtherSide = isFromOtherSide
    }

    package var description: String { message }
}
