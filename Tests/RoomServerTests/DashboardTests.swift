import Foundation
import Testing

@testable import RoomServer

/// The dashboard and the alert rules for operators, next to the server's other files for its deployment.
@Suite("Dashboard and alerts") struct DashboardTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../Sources/RoomServer/Deployment").standardized

    private static func text(_ file: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
    }

    /// Everything that a server exports, from its own output.
    private static func exported() throws -> Exposition {
        let report = ServerReport(loops: 2, RoomServerConfiguration.Limits())
        report.add(ClusterMetrics().part)
        return try Exposition(report.text(.prometheus))
    }

    private static func names(in text: String) -> Set<String> {
        Set(text.matches(of: /\b(?:room_server|process)_[a-z0-9_]+/).map { String($0.output) })
    }

    @Test(arguments: ["grafana-dashboard.json", "prometheus-alerts.yaml"])
    func everyMetricThatIsNamedIsExported(_ file: String) throws {
        let exported = try Self.exported()
        let known = Set(exported.families.values.flatMap { $0.samples.map(\.name) })
        let named = Self.names(in: try Self.text(file))
        #expect(named.count > 15)
        #expect(named.subtracting(known).isEmpty)
    }

    /// `name{label=…}` and `sum by (label) (… name …)`: a label that no sample has makes an empty panel.
    @Test(arguments: ["grafana-dashboard.json", "prometheus-alerts.yaml"])
    func everyValueOfALabelThatIsNamedExists(_ file: String) throws {
        let exported = try Self.exported()
        let text = try Self.text(file).replacing(#"\""#, with: "\"")
        var count = 0
        for match in text.matches(of: /\b((?:room_server|process)_[a-z0-9_]+)\{([^}]*)\}/) {
            let samples = exported.samples(String(match.output.1))
            for part in match.output.2.split(separator: ",") {
                let label = part.prefix { $0.isLetter }
                // Those are the scraper's.
                if ["job", "instance"].contains(label) { continue }
                let values = part.drop { $0 != "\"" }.dropFirst().dropLast().split(separator: "|")
                for value in values {
                    count += 1
                    #expect(samples.contains { $0.labels[String(label)] == String(value) }, "\(match.output.0)")
                }
            }
        }
        #expect(count > 1)
    }

    @Test func theDashboardIsValidAndItsPanelsDoNotOverlap() throws {
        let data = Data(try Self.text("grafana-dashboard.json").utf8)
        let dashboard = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let panels = try #require(dashboard["panels"] as? [[String: Any]])
        var cells: Set<[Int]> = []
        var ids: Set<Int> = []
        for panel in panels {
            #expect(ids.insert(try #require(panel["id"] as? Int)).inserted)
            let place = try #require(panel["gridPos"] as? [String: Int])
            let (x, y, w, h) = (place["x"] ?? 0, place["y"] ?? 0, place["w"] ?? 0, place["h"] ?? 0)
            #expect(x + w <= 24)
            for column in x..<(x + w) { for line in y..<(y + h) { #expect(cells.insert([column, line]).inserted) } }
            if panel["type"] as? String != "row" {
                let targets = try #require(panel["targets"] as? [[String: Any]])
                #expect(targets.allSatisfy { ($0["expr"] as? String)?.isEmpty == false })
            }
        }
        #expect(panels.count > 15)
    }

    /// The manual explains each metric.
    @Test func everyMetricIsInTheManual() throws {
        let manual = try Self.text("../RoomServer.docc/Operations.md")
        for name in try Self.exported().families.keys.sorted() { #expect(manual.contains("`\(name)`"), "\(name)") }
    }
}
