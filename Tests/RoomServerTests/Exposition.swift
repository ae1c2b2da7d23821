import RoomServer

/// Metrics in the text format of Prometheus, version 0.0.4, read strictly: more strictly than a scraper does.
struct Exposition {
    struct Problem: Error, CustomStringConvertible { var description: String }

    struct Family {
        var help: String
        var type = ""
        var samples: [Sample] = []
    }

    struct Sample {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    private(set) var families: [String: Family] = [:]

    /// All labels and values of a name.
    func samples(_ name: String) -> [Sample] { families.values.flatMap { $0.samples.filter { $0.name == name } } }

    /// The value of the sample with these labels, or nil.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        samples(name).first { $0.labels == labels }?.value
    }

    init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw Problem(description: "the last line does not end") }
        var current = ""
        var seen: Set<String> = []
        for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("# HELP ") {
                let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1)
                guard parts.count == 2, Self.isName(parts[0]) else { throw Problem(description: "\(line)") }
                current = String(parts[0])
                guard families[current] == nil else { throw Problem(description: "\(current) comes twice") }
                families[current] = Family(help: String(parts[1]))
            } else if line.hasPrefix("# TYPE ") {
                let parts = line.dropFirst(7).split(separator: " ")
                guard parts.count == 2, parts[0] == current, families[current]?.type == "",
                    ["counter", "gauge", "histogram"].contains(parts[1])
                else { throw Problem(description: "\(line)") }
                families[current]?.type = String(parts[1])
            } else {
                let sample = try Self.sample(line)
                guard let family = families[current],
                    Self.suffixes(family.type).contains(where: { current + $0 == sample.name })
                else { throw Problem(description: "\(line) is not of \(current)") }
                let key = sample.name + sample.labels.sorted { $0.key < $1.key }.description
                guard seen.insert(key).inserted else { throw Problem(description: "\(line) comes twice") }
                families[current]?.samples.append(sample)
            }
        }
        for (name, family) in families { try Self.check(name, family) }
    }

    private static func suffixes(_ type: String) -> [String] {
        switch type {
        case "histogram": ["_bucket", "_sum", "_count"]
        case "": []
        default: [""]
        }
    }

    private static func check(_ name: String, _ family: Family) throws {
        switch family.type {
        case "counter":
            guard name.hasSuffix("_total"), family.samples.allSatisfy({ $0.value >= 0 }) else {
                throw Problem(description: "\(name) is no counter")
            }
        case "gauge":
            guard !name.hasSuffix("_total") else { throw Problem(description: "\(name) is a gauge") }
        case "histogram":
            let buckets = family.samples.filter { $0.name.hasSuffix("_bucket") }
            let limits = buckets.compactMap { $0.labels["le"] }.compactMap { Double($0 == "+Inf" ? "inf" : $0) }
            guard limits.count == buckets.count, limits.last == .infinity,
                zip(limits, limits.dropFirst()).allSatisfy(<),
                zip(buckets, buckets.dropFirst()).allSatisfy({ $0.value <= $1.value }), limits.count <= 13,
                family.samples.first(where: { $0.name == name + "_count" })?.value == buckets.last?.value,
                family.samples.contains(where: { $0.name == name + "_sum" })
            else { throw Problem(description: "\(name) is no histogram") }
        default: throw Problem(description: "\(name) has no type")
        }
        let hasUnit = !["_ms", "_us", "_milliseconds", "_kilobytes", "_percent"].contains { name.contains($0) }
        guard hasUnit else { throw Problem(description: "\(name) is not in a base unit") }
    }

    private static func isName(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
            && text.first?.isLetter == true
    }

    /// `name{label="value",…} number`
    private static func sample(_ line: Substring) throws -> Sample {
        let name = line.prefix { $0 != "{" && $0 != " " }
        guard isName(name) else { throw Problem(description: "\(line)") }
        var rest = line.dropFirst(name.count)
        var labels: [String: String] = [:]
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                let label = rest.prefix { $0 != "=" }
                rest = rest.dropFirst(label.count)
                guard isName(label), labels[String(label)] == nil, rest.hasPrefix("=\"") else {
                    throw Problem(description: "\(line)")
                }
                rest = rest.dropFirst(2)
                labels[String(label)] = try quoted(&rest)
                if rest.first == "," { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        guard rest.first == " ", let value = Double(rest.dropFirst()) else { throw Problem(description: "\(line)") }
        return Sample(name: String(name), labels: labels, value: value)
    }

    /// Takes the rest of a quoted value.
    private static func quoted(_ rest: inout Substring) throws -> String {
        var value = ""
        while let next = rest.popFirst() {
            switch next {
            case "\"": return value
            case "\\":
                guard let escaped = rest.popFirst(), let known = ["n": "\n", "\\": "\\", "\"": "\""][escaped] else {
                    throw Problem(description: "an unknown escape")
                }
                value += known
            default: value.append(next)
            }
        }
        throw Problem(description: "a label that does not end")
    }
}

extension TestClient {
    /// Returns the head and the body of the answer to a GET.
    static func get(
        _ server: RoomServer, _ path: String, _ headers: String = "", method: String = "GET"
    ) async throws -> (head: String, body: String) {
        let client = try await dial(server)
        try await client.send(raw: "\(method) \(path) HTTP/1.1\r\nHost: x\r\n\(headers)\r\n")
        guard let head = await client.head() else { throw TestFailure(message: "no answer for \(path)") }
        return (head, await client.rest())
    }

    static func metrics(of server: RoomServer) async throws -> Exposition {
        try Exposition(try await get(server, "/metrics").body)
    }
}
