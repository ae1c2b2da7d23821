internal import CRoomPage
internal import CZlib
internal import Hashing
internal import WebSocketWire

/// A file of the page or of the browser client, ready to be sent.
struct PageFile: Sendable {
    /// The bytes of the file in one encoding, and their entity tag (RFC 9110 §8.8.3).
    struct Form: Sendable {
        var bytes: [UInt8]
        var tag: String
    }

    let path: String
    let type: String
    let plain: Form
    /// Compressed. Nil where that saves nothing.
    let compressed: Form?

    /// All files that are built in, by their paths. Prepared once for each process, with the first request.
    static let all: [String: PageFile] = {
        let sources = UnsafeBufferPointer(start: CRoomPage_files(), count: CRoomPage_count).map { entry in
            (String(cString: entry.path), Array(UnsafeBufferPointer(start: entry.bytes, count: entry.count)))
        }
        var files: [String: [UInt8]] = [:]
        for (path, bytes) in sources { files[path] = path.hasSuffix(".js") ? withoutComments(bytes) : bytes }
        let modules = files.filter { $0.key.hasSuffix(".js") }.mapValues { String(decoding: $0, as: UTF8.self) }
        for entry in entries { if let bundle = ModuleBundle.make(entry, modules) { files[entry] = Array(bundle.utf8) } }
        return files.reduce(into: [:]) { $0[$1.key] = PageFile($1.key, $1.value) }
    }()

    /// The modules that are served with all that they import. The last one is for later.
    static let entries = ["client/room.js", "client/messages.js", "page/page.js", "page/transfers.js"]

    private init(_ path: String, _ bytes: [UInt8]) {
        self.path = path
        type = Self.type(of: path)
        let tag = Crypto.sha256(bytes).description.prefix(24)
        plain = Form(bytes: bytes, tag: "\"\(tag)\"")
        let smaller = [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            count = CZlib_gzip(bytes, bytes.count, buffer.baseAddress, buffer.count)
        }
        compressed = smaller.isEmpty ? nil : Form(bytes: smaller, tag: "\"\(tag)-gzip\"")
    }

    /// Returns a module without the lines that are comments and the blanks before the others. Lines inside a template
    /// stay as they are.
    static func withoutComments(_ module: [UInt8]) -> [UInt8] {
        let (slash, star, backtick) = (UInt8(ascii: "/"), UInt8(ascii: "*"), UInt8(ascii: "`"))
        let hash = UInt8(ascii: "#")
        var kept: [UInt8] = []
        var isComment = false
        var isTemplate = false
        for line in module.split(separator: 0x0A, omittingEmptySubsequences: false) {
            var text = line.drop { $0 == 0x20 }
            if !isTemplate {
                if isComment || text.starts(with: [slash, star]) {
                    let end = text.indices.dropLast().first { text[$0] == star && text[$0 + 1] == slash }
                    // A comment before code on the same line stays.
                    if isComment { text = end.map { text[($0 + 2)...] } ?? [] }
                    if !isComment, end.map({ $0 + 2 == text.endIndex }) ?? true { text = [] }
                    isComment = end == nil
                }
                // `//#` is for the browser.
                let isHint = text.starts(with: [slash, slash, hash])
                if text.isEmpty || (text.starts(with: [slash, slash]) && !isHint) { continue }
            }
            kept += isTemplate ? line : text
            kept.append(0x0A)
            if text.count(where: { $0 == backtick }) % 2 == 1 { isTemplate.toggle() }
        }
        return kept
    }

    private static func type(of path: String) -> String {
        switch path.split(separator: ".").last {
        case "html": "text/html; charset=utf-8"
        case "js": "text/javascript; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "svg": "image/svg+xml"
        // Types of TypeScript (`.d.ts`) are for people and editors.
        default: "text/plain; charset=utf-8"
        }
    }

    /// Returns the file at the path of a request: the page for `/` and for `/ROOM`, a name without a dot; nil when
    /// there is none.
    static func at(_ path: String) -> PageFile? {
        let name = path.dropFirst()
        return name.contains("/") || name.contains(".") ? all[String(name)] : all["page/index.html"]
    }
}

extension HTTPResponse {
    /// Creates the answer with a file: its bytes, or 304 when the browser has them already.
    init(_ file: PageFile, to request: RequestHead) {
        let form = Self.takesGzip(request) ? file.compressed ?? file.plain : file.plain
        var headers = [
            ("ETag", form.tag),
            // The browser asks each time. `no-store` would keep the page out of the back-forward cache.
            ("Cache-Control", "no-cache"),
            ("Vary", "Accept-Encoding"),
            ("Content-Security-Policy", Self.policy(host: request.fields.value("host"))),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]
        // The module may be used by pages of other origins.
        if file.path.hasPrefix("client/") { headers.append(("Access-Control-Allow-Origin", "*")) }
        if request.fields.members("if-none-match").contains(where: { $0 == "*" || Self.strong($0) == form.tag }) {
            self.init(status: "304 Not Modified", headers: headers)
        } else {
            headers.append(("Content-Type", file.type))
            if form.tag != file.plain.tag { headers.append(("Content-Encoding", "gzip")) }
            self.init(status: "200 OK", headers: headers, body: form.bytes)
        }
        // A body in the request would be taken for the next request.
        let hasBody = ["content-length", "transfer-encoding"].contains { !request.fields.values($0).isEmpty }
        let asksToClose = request.fields.members("connection").contains { $0.lowercased() == "close" }
        keepsConnection = request.isHTTP11 && !hasBody && !asksToClose
    }

    /// `If-None-Match` compares weakly (RFC 9110 §13.1.2).
    private static func strong(_ tag: String) -> Substring { tag.hasPrefix("W/") ? tag.dropFirst(2) : tag[...] }

    /// Whether the browser decodes gzip (RFC 9110 §12.5.3).
    private static func takesGzip(_ request: RequestHead) -> Bool {
        request.fields.members("accept-encoding").contains { coding in
            let parts = coding.lowercased().split(separator: ";").map { $0.filter { $0 != " " } }
            let isRefused = parts.dropFirst().contains { $0.hasPrefix("q=") && Double($0.dropFirst(2)) == 0 }
            return parts.first == "gzip" && !isRefused
        }
    }

    /// The content security policy. `'self'` includes WebSocket in new browsers only, so the server is named by the
    /// host of the request.
    private static func policy(host: String?) -> String {
        var connections = "'self'"
        if let host, !host.isEmpty, host.utf8.allSatisfy(isPartOfHost) { connections += " ws://\(host) wss://\(host)" }
        return """
            default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
            connect-src \(connections); base-uri 'none'; form-action 'none'; frame-ancestors 'none'
            """
    }

    private static func isPartOfHost(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "-"),
            UInt8(ascii: "["), UInt8(ascii: "]"):
            true
        default: false
        }
    }
}
