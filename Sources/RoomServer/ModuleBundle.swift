/// Joins an ES module with those that it imports from its own folder, so that a browser asks for one file and not for
/// seventy, and compresses them together.
///
/// Each module becomes a function that returns its exports. It understands the forms that the modules here use: named
/// imports, and exports of constants, functions, classes and lists, each at the beginning of a line. With any other
/// form, or with a cycle, there is no bundle, and the modules are served one by one.
struct ModuleBundle {
    private let sources: [String: String]
    /// The number of each module in the order in which they run.
    private var numbers: [String: Int] = [:]
    private var visiting: Set<String> = []
    /// Lines of modules that begin with `//#`: directives to the browser, about the whole file.
    private var hints: [String] = []
    /// Imports from elsewhere.
    private var imports: [String] = []
    private var parts: [String] = []

    private struct Unsupported: Error {}

    /// Returns the module at the path `entry` with all that it needs. Nil: one of them has another form.
    /// - Parameter sources: modules without comments, by their paths.
    static func make(_ entry: String, _ sources: [String: String]) -> String? {
        var bundle = ModuleBundle(sources: sources)
        guard let exports = try? bundle.add(entry) else { return nil }
        let last =
            exports.isEmpty ? "" : "export const { \(exports.joined(separator: ", ")) } = $\(bundle.parts.count);\n"
        return (bundle.hints + bundle.imports + bundle.parts).joined() + last
    }

    private init(sources: [String: String]) { self.sources = sources }

    /// Adds a module behind those that it imports. Returns the names of its exports.
    private mutating func add(_ path: String) throws -> [String] {
        guard let source = sources[path], visiting.insert(path).inserted else { throw Unsupported() }
        var body = ""
        var exports: [String] = []
        var lines = source.split(separator: "\n", omittingEmptySubsequences: false)[...]
        while let line = lines.popFirst() {
            if line.hasPrefix("import ") || line.hasPrefix("export {") {
                var statement = String(line)
                while !statement.hasSuffix(";"), let next = lines.popFirst() { statement += " " + next }
                if line.hasPrefix("import ") {
                    body += try inner(statement, of: path)
                } else {
                    guard !statement.contains(" from "), !statement.contains(" as ") else { throw Unsupported() }
                    exports += Self.names(in: statement)
                }
            } else if line.hasPrefix("export ") {
                let rest = line.dropFirst("export ".count)
                let keywords = ["const ", "class ", "function ", "async function "]
                guard let keyword = keywords.first(where: { rest.hasPrefix($0) }) else { throw Unsupported() }
                let name = rest.dropFirst(keyword.count).prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "$" }
                guard !name.isEmpty else { throw Unsupported() }
                exports.append(String(name))
                body += rest + "\n"
            } else if line.hasPrefix("//#") {
                let hint = "\(line)\n"
                if !hints.contains(hint) { hints.append(hint) }
            } else {
                body += line + "\n"
            }
        }
        visiting.remove(path)
        parts.append(
            "const $\(parts.count + 1) = (() => {\n\(body)return { \(exports.joined(separator: ", ")) };\n})();\n")
        numbers[path] = parts.count
        return exports
    }

    /// Returns what stands for an import inside the function of a module.
    private mutating func inner(_ statement: String, of path: String) throws -> String {
        let parts = statement.split(separator: "\"")
        guard statement.hasPrefix("import {"), parts.count == 3, parts[2] == ";" else { throw Unsupported() }
        guard parts[1].hasPrefix("./") else {
            imports.append(statement + "\n")
            return ""
        }
        let other = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex) + parts[1].dropFirst(2)
        if numbers[String(other)] == nil { _ = try add(String(other)) }
        guard let number = numbers[String(other)] else { throw Unsupported() }
        let names = Self.names(in: statement).map { $0.replacing(" as ", with: ": ") }
        return "const { \(names.joined(separator: ", ")) } = $\(number);\n"
    }

    /// The names between the braces of a statement.
    private static func names(in statement: String) -> [String] {
        guard let open = statement.firstIndex(of: "{"), let close = statement.firstIndex(of: "}") else { return [] }
        return statement[statement.index(after: open)..<close].split(separator: ",").map { name in
            name.split(separator: " ").joined(separator: " ")
        }.filter { !$0.isEmpty }
    }
}
