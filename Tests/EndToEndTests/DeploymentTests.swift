import Foundation
import Testing
import Yams

/// The files that operators install: they are valid, and name what exists. No image is built here.
@Suite(.serialized, .timeLimit(.minutes(1))) struct DeploymentTests {
    private static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let folder = package.appendingPathComponent("Sources/RoomServer/Deployment")

    private static func text(_ name: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
    }

    /// The settings as they are installed, and with every proposal in them.
    @Test func theSettingsAreUnderstood() async throws {
        try await withProcesses { processes in
            let text = try Self.text("room.yaml")
            let installed = try processes.file("room.yaml", text.replacing("host: \"::\"", with: "host: 127.0.0.1"))
            let server = processes.add(
                try RoomProcess(
                    "server", ["serve", "--config", installed, "--port", "0", "--session-key-file", "none"]))
            try await server.wait(event: "listening")

            let proposed = text.replacing(/(?m)^#(?=[A-Za-z]+: )/, with: "")
            #expect(proposed.contains("\ntlsCert: ") && proposed.contains("\nturnUris: "))
            let all = try processes.file("all.yaml", proposed)
            let run = try await Shell.run("exec \"$ROOM\" serve --config '\(all)' --port 0 --session-key-file none")
            // Only the files are missing.
            #expect(run.status == 2 && run.errors.contains("/etc/room/"))
            #expect(!run.errors.contains("there is no key"))
        }
    }

    @Test func theUnitsAreValid() async throws {
        try await withProcesses { processes in
            for name in ["room.service", "room.socket"] {
                let unit = try Self.text(name).replacing("@BINDIR@/room", with: RoomProcess.room)
                    .replacing("@SYSCONFDIR@", with: "/etc")
                #expect(!unit.contains("@BINDIR@"))
                _ = try processes.file(name, unit)
            }
            let run = try await Shell.run(
                """
                command -v systemd-analyze >/dev/null || exit 0
                cd '\(processes.directory.path)' && systemd-analyze verify --man=no ./room.service ./room.socket
                """)
            #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        }
    }

    @Test func theServicesOfTheComposeFileUseFilesThatExist() throws {
        let root = try #require(try Yams.compose(yaml: Self.text("compose.yaml"))?.mapping)
        let services = try #require(root["services"]?.mapping)
        #expect(Set(services.keys.compactMap(\.string)).isSuperset(of: ["room", "coturn", "redis"]))
        let build = try #require(services["room"]?["build"]?.mapping)
        let context = Self.folder.appendingPathComponent(try #require(build["context"]?.string))
        for name in ["Package.swift", try #require(build["dockerfile"]?.string)] {
            #expect(FileManager.default.fileExists(atPath: context.appendingPathComponent(name).path), "\(name)")
        }
        let volumes = services.values.flatMap { $0["volumes"]?.sequence.map(Array.init) ?? [] }.compactMap(\.string)
        for volume in volumes where volume.hasPrefix("./") {
            let file = Self.folder.appendingPathComponent(String(volume.prefix { $0 != ":" })).standardizedFileURL
            #expect(FileManager.default.fileExists(atPath: file.path), "\(volume)")
        }
        for (name, config) in try #require(root["configs"]?.mapping) {
            #expect(try Yams.compose(yaml: #require(config["content"]?.string))?.mapping != nil, "\(name)")
        }
        let secrets = Set(try #require(root["secrets"]?.mapping).keys.compactMap(\.string))
        for service in services.values {
            let used = service["secrets"]?.sequence?.compactMap(\.string) ?? []
            #expect(secrets.isSuperset(of: used))
        }
    }

    /// The variables that the image and the compose file set are settings: a misspelt one gets a warning at most.
    @Test func theVariablesOfTheContainersAreSettings() async throws {
        let services = try #require(try Yams.compose(yaml: Self.text("compose.yaml"))?["services"])
        let variables = try #require(services["room"]?["environment"]?.mapping).keys.compactMap(\.string)
        let image = try Self.text("Dockerfile").split(separator: "\n").filter { $0.hasPrefix("ENV ") }
            .flatMap { $0.split(separator: " ").dropFirst().map { String($0.prefix { $0 != "=" }) } }
        try await withProcesses { processes in
            // A file has the same keys, and an unknown one is an error there.
            for variable in Set(variables + image) where variable.hasPrefix("ROOM_") && variable != "ROOM_HEALTH_URL" {
                let words = variable.dropFirst("ROOM_".count).split(separator: "_").map { $0.lowercased() }
                let key = words[0] + words.dropFirst().map(\.capitalized).joined()
                let file = try processes.file("one.yaml", "\(key): x\nnotAKey: 1\n")
                let run = try await Shell.run("exec \"$ROOM\" serve --config '\(file)'")
                #expect(run.status == 2 && run.errors.contains("'notAKey'"), "\(key): \(run.errors)")
            }
        }
    }

    @Test func theImageRunsTheInstalledServerWithoutRoot() throws {
        let stages = try Self.text("Dockerfile").components(separatedBy: "\nFROM ")
        #expect(stages.count == 3)
        let image = stages[2]
        for line in [
            "COPY --from=build /installed/usr/bin/room", "COPY --from=build /installed/usr/lib/room", "/livez",
        ] {
            #expect(image.contains(line))
        }
        #expect(image.contains(/(?m)^USER [1-9][0-9]*:/))
        #expect(stages[1].contains("make install DESTDIR=/installed PREFIX=/usr"))
    }
}
