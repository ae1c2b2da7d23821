internal import TransportPluginAPI

/// The treatment of a file whose name is taken in the receiving folder.
package enum ExistingFiles: Sendable {
    /// The transfer is declined, before anything is written.
    case refuse
    /// The file that is there is replaced once the new one is whole.
    case overwrite
    /// The new file gets a number in its name.
    case rename
}

/// The work for each file of a list, decided by a look at the receiving folder. Nothing is written.
package struct ArrivalPlan: Sendable {
    enum Step: Sendable, Hashable {
        /// A folder, which is made unless it exists.
        case folder
        /// Nothing of the file is there.
        case fresh(name: String)
        /// An earlier transfer has left this many bytes.
        case part(name: String, count: UInt64)
        /// A file of this name, size and date is there: most likely the same.
        case existing(name: String)

        /// Whether there are bytes to compare.
        var hasBytes: Bool {
            switch self {
            case .folder, .fresh: false
            case .part, .existing: true
            }
        }
    }

    let steps: [Step]
    /// Bytes that are there already, if they prove to be the same.
    package let presentCount: UInt64

    /// Throws `.exists` when a file is in the way, and what `checkCancellation` throws, which is called now and then.
    init(
        _ manifest: Manifest, in root: OpenFolder, existing policy: ExistingFiles,
        _ checkCancellation: () throws -> Void = {}
    ) throws {
        var steps: [Step] = []
        var present: UInt64 = 0
        // Entries of one folder follow each other.
        var folders: (path: [String], folder: OpenFolder?)?
        for entry in manifest.entries {
            if steps.count % 256 == 0 { try checkCancellation() }
            let path = Array(entry.path.parent)
            if folders?.path != path { folders = (path, try root.folder(at: path)) }
            let step = try Self.step(entry, folders?.folder, policy)
            switch step {
            case .part(_, let count): present += count
            case .existing: present += entry.size
            case .folder, .fresh: break
            }
            steps.append(step)
        }
        self.steps = steps
        presentCount = present
        let needed = manifest.total - min(present, manifest.total)
        let free = root.freeSpace()
        guard needed <= free else {
            throw TransferError(
                .noSpace, "the files need \(ByteCount(needed)), and there is space for \(ByteCount(free)) only")
        }
    }

    private static func step(
        _ entry: Manifest.Entry, _ folder: OpenFolder?, _ policy: ExistingFiles
    ) throws(TransferError) -> Step {
        let name = entry.path.name
        guard let status = try folder?.status(of: name) else {
            return entry.kind == .folder ? .folder : try unfinished(entry, name, folder)
        }
        if entry.kind == .folder {
            guard status.kind == .folder else { throw inTheWay(entry, "and no folder") }
            return .folder
        }
        if isSame(status, entry) { return .existing(name: name) }
        switch policy {
        case .refuse: throw inTheWay(entry, "and another file")
        case .overwrite:
            guard status.kind == .file else { throw inTheWay(entry, "and no regular file") }
            return try unfinished(entry, name, folder)
        case .rename:
            for number in 2...10_000 {
                let other = numbered(name, number)
                guard let status = try folder?.status(of: other) else { return try unfinished(entry, other, folder) }
                if isSame(status, entry) { return .existing(name: other) }
            }
            throw inTheWay(entry, "with all its numbers")
        }
    }

    private static func unfinished(
        _ entry: Manifest.Entry, _ name: String, _ folder: OpenFolder?
    ) throws(TransferError) -> Step {
        guard let status = try folder?.status(of: partName(entry)), status.kind == .file, status.size > 0 else {
            return .fresh(name: name)
        }
        return .part(name: name, count: min(status.size, entry.size))
    }

    private static func inTheWay(_ entry: Manifest.Entry, _ what: String) -> TransferError {
        TransferError(
            .exists,
            "\(entry.path.text) is there already, \(what): the receiver has it in another folder, "
                + "or with --rename or --overwrite")
    }

    /// Whether a file looks like the one that is announced. Some file systems keep only even seconds.
    private static func isSame(_ status: FileStatus, _ entry: Manifest.Entry) -> Bool {
        guard status.kind == .file, status.size == entry.size else { return false }
        if status.modifiedAt == entry.modifiedAt { return true }
        let difference = status.modifiedAt.subtractingReportingOverflow(entry.modifiedAt)
        return status.modifiedAt % 1_000_000_000 == 0 && !difference.overflow
            && difference.partialValue.magnitude < 2_000_000_000
    }

    /// The name of the unfinished part of a file: `.NAME.ID.part`, where the ID stands for path, size and date. A long
    /// name is cut.
    static func partName(_ entry: Manifest.Entry) -> String {
        let rest = ".\(entry.identity).part"
        return "." + shortened(entry.path.name, to: ArrivingPath.nameLimit - 1 - rest.utf8.count) + rest
    }

    /// `name (2).txt`
    static func numbered(_ name: String, _ number: Int) -> String {
        var stem = Substring(name)
        var ending = Substring("")
        if let dot = name.lastIndex(of: "."), dot != name.startIndex {
            (stem, ending) = (name[..<dot], name[dot...])
        }
        let rest = " (\(number))" + shortened(String(ending), to: 64)
        return shortened(String(stem), to: ArrivingPath.nameLimit - rest.utf8.count) + rest
    }

    private static func shortened(_ text: String, to length: Int) -> String {
        var text = text
        while text.utf8.count > length { text.removeLast() }
        return text
    }
}
