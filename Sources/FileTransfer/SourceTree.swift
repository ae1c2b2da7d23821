internal import Glibc
internal import TransportPluginAPI

/// The files and folders that a sender has been told to send: their list, and their bytes.
package struct SourceTree: Sendable {
    package private(set) var manifest: Manifest
    /// Entries that are passed over: links, devices and the like, with the reason.
    package private(set) var passedOver: [String] = []
    /// The paths of what was named, by the name under which it is sent.
    private var roots: [String: String] = [:]
    /// Names in folders, those that are passed over included.
    private var visitedCount = 0

    /// Lists everything that is named, folders with their contents. Blocks.
    ///
    /// Symbolic links are followed where they are named themselves, and passed over inside folders. Throws when
    /// something cannot be read, or has a name that cannot be sent.
    ///
    /// - Parameter standardInput: The open file that `-` stands for; it is sent under the name `stdin`.
    package init(
        _ paths: [String], standardInput: Int32? = nil, limits: Manifest.Limits = Manifest.Limits()
    ) throws {
        try self.init(paths, standardInput, limits) {}
    }

    /// Lists everything that is named, as `init` does, on a thread of its own. A cancelled task ends it.
    package static func listing(
        _ paths: [String], standardInput: Int32? = nil, limits: Manifest.Limits = Manifest.Limits()
    ) async throws -> SourceTree {
        try await BlockingWorker().runLong { try SourceTree(paths, standardInput, limits, $0) }
    }

    private init(
        _ paths: [String], _ standardInput: Int32?, _ limits: Manifest.Limits, _ checkCancellation: () throws -> Void
    ) throws {
        manifest = Manifest(limits: limits)
        for path in paths {
            if path == "-", let standardInput {
                try addStandardInput(standardInput)
            } else {
                try addRoot(path, checkCancellation)
            }
        }
        guard !manifest.entries.isEmpty else { throw TransferError(.file, "there is nothing to send") }
    }

    private mutating func addRoot(_ path: String, _ checkCancellation: () throws -> Void) throws {
        var status = stat()
        guard stat(path, &status) == 0 else { throw fileError(path, "cannot be sent") }
        let facts = FileStatus(status)
        guard let resolved = realpath(path, nil) else { throw fileError(path, "cannot be sent") }
        defer { free(resolved) }
        // What was named, unless that is no name (`.`, `..`, `/`).
        var name = path
        while name.count > 1, name.hasSuffix("/") { name.removeLast() }
        name = String(name.split(separator: "/").last ?? "")
        if name.isEmpty || name == "." || name == ".." {
            name = String(String(cString: resolved).split(separator: "/").last ?? "")
        }
        guard !name.isEmpty else {
            throw TransferError(.unsafeName, "\(path) has no name under which it could be sent")
        }
        roots[name] = String(cString: resolved)
        switch facts.kind {
        case .file:
            guard access(path, R_OK) == 0 else { throw fileError(path, "cannot be read") }
            try add(name, facts, .file)
        case .folder:
            try add(name, facts, .folder)
            try addContents(of: try OpenFolder(named: path), at: name, depth: 1, checkCancellation)
        case .link, .other:
            throw TransferError(.file, "\(path) is neither a file nor a folder")
        }
    }

    private mutating func addStandardInput(_ descriptor: Int32) throws(TransferError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw fileError("standard input", "cannot be sent") }
        var facts = FileStatus(status)
        facts.mode = 0o644
        roots["stdin"] = "/proc/self/fd/\(descriptor)"
        try add("stdin", facts, .file)
    }

    private mutating func add(_ text: String, _ facts: FileStatus, _ kind: Manifest.Entry.Kind) throws(TransferError) {
        try manifest.add(
            Manifest.Entry(
                kind: kind, path: try Manifest.path(text), size: kind == .file ? facts.size : 0,
                modifiedAt: facts.modifiedAt, mode: facts.mode))
    }

    private mutating func addContents(
        of folder: OpenFolder, at path: String, depth: Int, _ checkCancellation: () throws -> Void
    ) throws {
        guard depth <= ArrivingPath.depthLimit else {
            throw TransferError(.tooLarge, "\(path) has more than \(ArrivingPath.depthLimit) levels of folders")
        }
        for name in try folder.names() {
            guard let name else {
                throw TransferError(.unsafeName, "\(path) has a file whose name is not UTF-8: rename it")
            }
            if visitedCount % 256 == 0 { try checkCancellation() }
            visitedCount += 1
            let text = path + "/" + name
            guard let facts = try folder.status(of: name) else { continue }
            switch facts.kind {
            case .file: try add(text, facts, .file)
            case .folder:
                try add(text, facts, .folder)
                try addContents(of: try folder.folder(name), at: text, depth: depth + 1, checkCancellation)
            case .link: passedOver.append("\(text) is a symbolic link")
            case .other: passedOver.append("\(text) is neither a file nor a folder")
            }
        }
    }

    /// Opens a file of the list. Throws when it is another than when the list was made.
    func open(_ entry: Manifest.Entry) throws(TransferError) -> OpenDescriptor {
        let names = entry.path.names
        guard let root = roots[names[0]] else { throw TransferError(.file, "\(names[0]) is not being sent") }
        let file: OpenDescriptor
        if names.count == 1 {
            let number = Glibc.open(root, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            guard number >= 0 else { throw fileError(entry.path.text, "cannot be opened") }
            file = OpenDescriptor(number)
        } else {
            var folder = try OpenFolder(named: root)
            for name in names[1..<(names.count - 1)] { folder = try folder.folder(name) }
            file = try folder.openFile(entry.path.name)
        }
        try Self.check(file, entry)
        return file
    }

    /// Throws when a file is not what the list says.
    static func check(_ file: OpenDescriptor, _ entry: Manifest.Entry) throws(TransferError) {
        let status = try file.status(entry.path.text)
        guard status.kind == .file, status.size == entry.size, status.modifiedAt == entry.modifiedAt else {
            throw TransferError(
                .damaged, "\(entry.path.text) has changed while it was being sent: start again when it is at rest")
        }
    }
}
