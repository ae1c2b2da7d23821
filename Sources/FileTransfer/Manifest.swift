internal import Hashing

/// The list of the files and folders of a transfer, folders before their contents.
package struct Manifest: Sendable, Hashable {
    package struct Entry: Sendable, Hashable {
        package enum Kind: UInt8, Sendable {
            case file = 0
            case folder = 1
        }

        package var kind: Kind
        package var path: ArrivingPath
        /// Bytes; 0 for a folder.
        package var size: UInt64
        /// The last change, in nanoseconds since 1970.
        package var modifiedAt: Int64
        /// The permissions of owner, group and others: nine bits.
        package var mode: UInt16

        package init(kind: Kind, path: ArrivingPath, size: UInt64, modifiedAt: Int64, mode: UInt16) {
            self.kind = kind
            self.path = path
            self.size = size
            self.modifiedAt = modifiedAt
            self.mode = mode & 0o777
        }

        /// Stands for this file in the name of its unfinished part: another size, date or path is another file.
        package var identity: String {
            var writer = ByteWriter()
            writer.add(text: path.text)
            writer.add(size)
            writer.add(modifiedAt)
            return String(TransferCode.base32(Crypto.sha256(writer.bytes).bytes).prefix(12))
        }
    }

    /// The bounds of what a receiver takes.
    package struct Limits: Sendable {
        package var entries = 65_536
        /// Bytes of all files together.
        package var total: UInt64 = 1 << 50
        /// Bytes of the encoded list.
        package var length = 8 << 20

        package init() {}
    }

    package private(set) var entries: [Entry] = []
    package private(set) var total: UInt64 = 0
    private let limits: Limits
    /// The kinds of the entries so far, by the form in which names are compared.
    private var kinds: [String: (Entry.Kind, String)] = [:]
    private var length = 0

    package init(limits: Limits = Limits()) { self.limits = limits }

    package static func == (left: Manifest, right: Manifest) -> Bool { left.entries == right.entries }
    package func hash(into hasher: inout Hasher) { hasher.combine(entries) }

    package var fileCount: Int { entries.count { $0.kind == .file } }

    /// The entries that lie at the top, in order: what a person is asked about.
    package var topLevel: [Entry] { entries.filter { $0.path.names.count == 1 } }

    /// Adds an entry. Throws when it collides with another, has no folder to lie in, or is one too many.
    package mutating func add(_ entry: Entry) throws(TransferError) {
        guard entries.count < limits.entries else {
            throw TransferError(.tooLarge, "there are more than \(limits.entries) files and folders: pack them first")
        }
        length += Self.encodedLength(of: entry)
        guard length <= limits.length else {
            throw TransferError(.tooLarge, "the list of files is longer than \(limits.length) bytes: pack them first")
        }
        let (sum, isOver) = total.addingReportingOverflow(entry.size)
        guard !isOver, sum <= limits.total else {
            throw TransferError(.tooLarge, "the files are larger than \(limits.total) bytes together")
        }
        guard entry.kind == .file || entry.size == 0 else {
            throw TransferError(.protocolViolation, "the folder \(entry.path.text) has a size")
        }
        if entry.path.names.count > 1 {
            let parent = entry.path.parent.joined(separator: "/")
            guard let (kind, text) = kinds[ArrivingPath.folded(parent)], kind == .folder, text == parent else {
                throw TransferError(.unsafeName, "\(entry.path.text) lies in a folder that is not listed before it")
            }
        }
        let folded = ArrivingPath.folded(entry.path.text)
        if let (_, other) = kinds[folded] {
            throw TransferError(
                .unsafeName,
                "\(entry.path.text) and \(other) are one name where capitals do not count: rename one of them")
        }
        kinds[folded] = (entry.kind, entry.path.text)
        total = sum
        entries.append(entry)
    }

    // MARK: Bytes

    private static func encodedLength(of entry: Entry) -> Int { 1 + 2 + 8 + 8 + 2 + entry.path.text.utf8.count }

    func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.bytes.reserveCapacity(length + 12)
        writer.add(UInt32(entries.count))
        writer.add(total)
        for entry in entries {
            writer.add(entry.kind.rawValue)
            writer.add(entry.mode)
            writer.add(entry.size)
            writer.add(entry.modifiedAt)
            writer.add(text: entry.path.text)
        }
        return writer.bytes
    }

    /// Reads and checks a list from another machine. Nothing of a list with one bad entry is taken.
    ///
    /// Throws `TransferError`, or what `checkCancellation` throws, which is called now and then.
    init(decoding bytes: [UInt8], limits: Limits = Limits(), _ checkCancellation: () throws -> Void = {}) throws {
        self.init(limits: limits)
        var reader = ByteReader(bytes)
        do {
            let count = try reader.number(UInt32.self)
            let announced = try reader.number(UInt64.self)
            for number in 0..<count {
                if number % 256 == 0 { try checkCancellation() }
                let kind = try reader.number(UInt8.self)
                let mode = try reader.number(UInt16.self)
                let size = try reader.number(UInt64.self)
                let modifiedAt = try reader.number(Int64.self)
                let text = try reader.text()
                guard let kind = Entry.Kind(rawValue: kind) else { throw ByteReader.Malformed() }
                let path = try Self.path(text)
                try add(Entry(kind: kind, path: path, size: size, modifiedAt: modifiedAt, mode: mode))
            }
            guard reader.isAtEnd, announced == total else { throw ByteReader.Malformed() }
        } catch is ByteReader.Malformed {
            throw TransferError(.protocolViolation, "the sender's list of files cannot be read")
        }
    }

    /// Checks the path of an entry. Throws a sentence that has the path.
    static func path(_ text: String) throws(TransferError) -> ArrivingPath {
        do {
            return try ArrivingPath(text)
        } catch {
            throw TransferError(.unsafeName, "the name \(text.prefix(200)) cannot be sent: \(error)")
        }
    }
}
