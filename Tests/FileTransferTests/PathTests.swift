import Testing

@testable import FileTransfer

/// Names that come from another machine.
@Suite struct PathTests {
    @Test(arguments: [
        "a", "a/b/c", ".hidden", "..a", "a..b", "ä ö", "日本語/ファイル.txt", "👩‍👩‍👧.png", "❤️", "com", "console.txt", "nul0",
        "a b.c",
        String(repeating: "x", count: 255), "-rf", "~", "$HOME", "*", "%2e%2e", "faß",
    ])
    func anOrdinaryNameArrives(_ text: String) throws {
        #expect(try ArrivingPath(text).text == text)
    }

    @Test(arguments: [
        "", "/", "/etc/passwd", "//a", "a//b", "a/", "/a", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a",
        "../../.ssh/authorized_keys", "a/b/../../../c",
        "..\\a", "a\\b", "C:\\a", "C:a", "a:stream", "\\\\server\\share",
        "a\0b", "a\nb", "a\rb", "a\u{1B}[2Jb", "a\u{7F}", "a\u{9B}2J", "a\u{2028}b", "a\u{2029}", "a\u{85}",
        "a\u{202E}gpj.exe", "a\u{2066}b", "a\u{200B}b", "\u{FEFF}a", "a\u{AD}b", "a\u{2060}", "a\u{3164}", "a\u{E000}",
        "a.", "a ", "a./b", "a /b", "...", "a\u{A0}", "a\u{3000}", " ",
        "CON", "con", "Con.txt", "a/NUL", "nul.tar.gz", "aux", "PRN.", "COM1", "com9.log", "LPT1", "lpt¹", "COM²",
        "com³.x",
        "CLOCK$", "CONIN$", "conout$", "con .txt", "COM0", "aux/a",
        String(repeating: "x", count: 256), String(repeating: "ä", count: 128),
        Array(repeating: "d", count: 65).joined(separator: "/"),
        Array(repeating: String(repeating: "d", count: 250), count: 9).joined(separator: "/"),
    ])
    func aNameThatCouldLeadElsewhereIsRefused(_ text: String) {
        #expect(throws: ArrivingPath.Fault.self) { try ArrivingPath(text) }
    }

    private static func manifest(_ entries: (String, Manifest.Entry.Kind)...) throws -> Manifest {
        var manifest = Manifest()
        for (text, kind) in entries {
            try manifest.add(
                Manifest.Entry(kind: kind, path: try ArrivingPath(text), size: 0, modifiedAt: 0, mode: 0o644))
        }
        return manifest
    }

    @Test(arguments: [
        ("a", "a"), ("a", "A"), ("straße", "STRASSE"), ("e\u{301}", "\u{E9}"), ("É", "e\u{301}"), ("ﬁle", "FILE"),
    ])
    func twoNamesThatAreOneElsewhereAreRefused(_ one: String, _ other: String) {
        #expect(throws: TransferError.self) { try Self.manifest((one, .file), (other, .file)) }
    }

    @Test func aFileIsNoFolder() throws {
        #expect(throws: TransferError.self) { try Self.manifest(("a", .file), ("a", .folder)) }
        #expect(throws: TransferError.self) { try Self.manifest(("a", .file), ("a/b", .file)) }
        #expect(throws: TransferError.self) { try Self.manifest(("a", .folder), ("A/b", .file)) }
        #expect(throws: TransferError.self) { try Self.manifest(("a/b", .file)) }
        #expect(throws: TransferError.self) { try Self.manifest(("a/b", .file), ("a", .folder)) }
        #expect(try Self.manifest(("a", .folder), ("a/b", .file), ("a/c", .folder)).fileCount == 1)
    }
}

@Suite struct ManifestTests {
    static func entry(_ path: String, size: UInt64 = 7, mode: UInt16 = 0o644) throws -> Manifest.Entry {
        Manifest.Entry(kind: .file, path: try ArrivingPath(path), size: size, modifiedAt: -1_500_000_000, mode: mode)
    }

    @Test func theListArrivesAsItIs() throws {
        var manifest = Manifest()
        try manifest.add(
            Manifest.Entry(kind: .folder, path: try ArrivingPath("d"), size: 0, modifiedAt: 5, mode: 0o755))
        try manifest.add(try Self.entry("d/ä", size: 1 << 40))
        try manifest.add(try Self.entry("e", mode: 0o4755))
        let copy = try Manifest(decoding: manifest.encoded())
        #expect(copy == manifest)
        #expect(copy.total == 7 + 1 << 40)
        #expect(copy.entries[2].mode == 0o755, "setuid does not travel")
    }

    @Test func aListIsBounded() throws {
        var limits = Manifest.Limits()
        limits.entries = 2
        limits.total = 10
        var manifest = Manifest(limits: limits)
        try manifest.add(try Self.entry("a"))
        #expect(throws: TransferError.self) { try manifest.add(try Self.entry("b", size: 4)) }
        #expect(throws: TransferError.self) { try manifest.add(try Self.entry("b", size: .max)) }
        try manifest.add(try Self.entry("b", size: 3))
        #expect(throws: TransferError.self) { try manifest.add(try Self.entry("c", size: 0)) }
        limits.length = 40
        manifest = Manifest(limits: limits)
        try manifest.add(try Self.entry("a"))
        #expect(throws: TransferError.self) { try manifest.add(try Self.entry("b", size: 0)) }
    }

    @Test func aMutilatedListIsRefused() throws {
        var manifest = Manifest()
        try manifest.add(try Self.entry("abc"))
        try manifest.add(try Self.entry("def"))
        let bytes = manifest.encoded()
        for count in 0..<bytes.count {
            #expect(throws: TransferError.self) { try Manifest(decoding: Array(bytes[..<count])) }
        }
        #expect(throws: TransferError.self) { try Manifest(decoding: bytes + [0]) }
        for index in bytes.indices {
            for bit in 0..<8 {
                var other = bytes
                other[index] ^= 1 << bit
                // Never a trap, and never a name that is not checked.
                if let manifest = try? Manifest(decoding: other) {
                    for entry in manifest.entries { #expect(throws: Never.self) { try ArrivingPath(entry.path.text) } }
                }
            }
        }
    }

    @Test func anotherSizeDateOrPathIsAnotherFile() throws {
        let entry = try Self.entry("a")
        var others = [entry, entry, entry]
        others[0].size += 1
        others[1].modifiedAt += 1
        others[2].path = try ArrivingPath("b")
        #expect(Set(others.map(\.identity) + [entry.identity]).count == 4)
        let long = try Self.entry(String(repeating: "ä", count: 127))
        #expect(ArrivalPlan.partName(long).utf8.count <= 255)
        #expect(ArrivalPlan.numbered("a.tar.gz", 2) == "a.tar (2).gz")
        #expect(ArrivalPlan.numbered(".profile", 3) == ".profile (3)")
    }
}
