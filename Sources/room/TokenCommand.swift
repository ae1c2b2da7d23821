internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import RoomProtocol
internal import RoomServer

/// `room token`: join tokens for servers that require them.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make and check join tokens, and their keys.",
        subcommands: [Make.self, Check.self, Keygen.self])

    /// Runs `body`; its errors are those of usage.
    private static func reporting<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch let error as RoomServerError { throw CommandError(.usage, error.message) }
    }
}

extension TokenCommand {
    struct Make: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "make", abstract: "Sign a join token, and print it.")

        @OptionGroup var common: CommonOptions

        @Flag(help: "One JSON object, with the token and its expiry.") var json = false
        @Option(help: "The room that its holder may join.") var room: String
        @Option(help: "The name that its holder must have. Default: any.") var name: String?
        @Option(help: "host or guest. Default: either.") var role: String?
        @Option(help: "30s, 10m, 1h, 7d, or a date: 2030-01-31, 2030-01-31T12:00:00Z. Default: 1h.") var expires = "1h"
        @Option(help: "A PEM file with a private key: Ed25519, RSA or P-256.") var keyFile: String?
        @Option(help: "A file with the secret that the server has, too (HS256).") var secretFile: String?
        @Option(help: "The id of the key. Default: that in the key file, if there is one.") var kid: String?
        @Option(help: "The issuer (iss).") var issuer: String?
        @Option(help: "The audience (aud).") var audience: String?

        func run() async throws {
            let settings = try common.settings()
            let logger = try common.logger(settings, otherwise: "warning")
            var token = JoinToken(
                room: try Self.checked(room, "--room", Limits.roomName),
                name: try name.map { try Self.checked($0, "--name", Limits.participantName) },
                expiry: try TokenTime.expiry(expires, now: Int(Date().timeIntervalSince1970)))
            if let role {
                guard let role = JoinToken.Role(rawValue: role) else {
                    throw CommandError(.usage, "--role must be host or guest")
                }
                token.role = role
            }
            token.issuer = issuer
            token.audience = audience
            let text = try TokenCommand.reporting {
                var signer: JoinTokenSigner
                switch (keyFile, secretFile) {
                case (let path?, nil): signer = try JoinTokenSigner(keyFile: path, logger)
                case (nil, let path?): signer = try JoinTokenSigner(secretFile: path, logger)
                default: throw CommandError(.usage, "name either --key-file or --secret-file, which signs the token")
                }
                if let kid { signer.id = kid }
                return try signer.sign(token)
            }
            guard json else { return Output.line("\(text)") }
            var line = JSONLine()
            line.add("token", text)
            line.add("expires", token.expiry)
            Output.line(line)
        }

        private static func checked(_ name: String, _ flag: String, _ limit: Int) throws -> String {
            guard let reason = NameRules.fault(of: name, limit: limit) else { return name }
            throw CommandError(.usage, "\(flag) \(reason)")
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract: "Say whether a server would accept a join token, or why not.",
            discussion: "Exit status 5: it is not valid. Without keys, those of the server's configuration are taken.")

        @OptionGroup var common: CommonOptions

        @Flag(help: "One JSON object.") var json = false
        @Argument(help: "The token; -: the first line of standard input.") var token: String

        @Option(help: "A PEM file with a public or a private key, or a JSON Web Key Set. Repeatable.")
        var keyFile: [String] = []

        @Option(help: "A file with a secret (HS256). Repeatable.") var secretFile: [String] = []
        @Option(help: "The issuer (iss) that the server requires.") var issuer: String?
        @Option(help: "The audience (aud) that the server requires.") var audience: String?

        func run() async throws {
            let settings = try common.settings()
            let logger = try common.logger(settings, otherwise: "warning")
            var (keyFiles, secretFiles) = (keyFile, secretFile)
            if keyFiles.isEmpty, secretFiles.isEmpty {
                keyFiles = try settings.strings("tokenKeyFile")
                secretFiles = try settings.strings("tokenSecretFile")
            }
            guard !keyFiles.isEmpty || !secretFiles.isEmpty else {
                throw CommandError(
                    .usage, "name the keys of the server: --key-file, --secret-file, or its --config FILE")
            }
            let keys = try TokenCommand.reporting {
                var keys = JoinTokenKeys(
                    issuer: try issuer ?? settings.string("tokenIssuer"),
                    audience: try audience ?? settings.string("tokenAudience"))
                for path in keyFiles { try keys.add(keyFile: path, logger) }
                for path in secretFiles { try keys.add(secretFile: path, logger) }
                return keys
            }
            let text = (token == "-" ? readLine() ?? "" : token).trimmingCharacters(in: .whitespacesAndNewlines)
            let check = JoinTokenCheck(text, keys: keys, now: Int(Date().timeIntervalSince1970))
            json ? report(check) : tell(check)
            if check.problem != nil { throw ExitStatus.checkFailed }
        }

        private func report(_ check: JoinTokenCheck) {
            var line = JSONLine()
            line.add("valid", check.problem == nil)
            if let problem = check.problem { line.add("reason", problem) }
            if let header = Self.json(check.header) { line.add("header", json: header) }
            if let claims = Self.json(check.claims) { line.add("claims", json: claims) }
            Output.line(line)
        }

        private func tell(_ check: JoinTokenCheck) {
            if let problem = check.problem {
                Output.line(Output.coloured("not valid", Output.red) + ": " + Output.coloured(problem, 0))
            } else {
                Output.line(Output.coloured("valid", Output.green))
            }
            if let header = Self.json(check.header) { Output.line("header: \(header)") }
            guard let claims = Self.json(check.claims) else { return }
            Output.line("claims: \(claims)")
            let members = (try? JSONSerialization.jsonObject(with: Data(claims.utf8))) as? [String: Any]
            for (claim, meaning) in [("nbf", "valid from"), ("exp", "expires")] {
                guard let seconds = (members?[claim] as? NSNumber)?.doubleValue else { continue }
                Output.line("\(meaning): \(TokenTime.text(seconds))")
            }
        }

        /// Returns an object on one line.
        private static func json(_ bytes: [UInt8]?) -> String? {
            guard let bytes, let object = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any],
                let data = try? JSONSerialization.data(
                    withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
            else { return nil }
            return String(decoding: data, as: UTF8.self)
        }
    }

    struct Keygen: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "keygen",
            abstract: "Make a key that signs join tokens.",
            discussion: """
                ed25519 makes a private key in FILE, which stays with the application, and the public key in FILE.pub, \
                which the server gets with --token-key-file. hs256 makes a secret in FILE, which both have.
                """)

        @OptionGroup var common: CommonOptions

        @Flag(help: "One JSON object.") var json = false
        @Argument(help: "ed25519 or hs256.") var algorithm = "ed25519"
        @Option(help: "The file of the private key or the secret. It must not exist.") var out: String
        @Option(help: "An id for the key (ed25519), which its tokens carry as kid.") var kid: String?

        func run() async throws {
            for path in [out, out + ".pub"] where JoinTokenKeyMaker.exists(path) {
                throw CommandError(.exists, "\(path) is there already, and is not overwritten")
            }
            if let kid, kid.isEmpty || !kid.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) || kid.utf8.count > 64 {
                throw CommandError(.usage, "--kid must have 1 to 64 printable characters of ASCII, without spaces")
            }
            var line = JSONLine()
            line.add("algorithm", algorithm)
            switch algorithm {
            case "ed25519":
                try TokenCommand.reporting { try JoinTokenKeyMaker.makeEd25519(out, id: kid) }
                line.add("private", out)
                line.add("public", out + ".pub")
                if !json { Output.line("private key: \(out)\npublic key: \(out).pub") }
            case "hs256":
                guard kid == nil else { throw CommandError(.usage, "a secret has no id: --kid is for ed25519") }
                try TokenCommand.reporting { try JoinTokenKeyMaker.makeSecret(out) }
                line.add("secret", out)
                if !json { Output.line("secret: \(out)") }
            default: throw CommandError(.usage, "'\(algorithm)' cannot be made: use ed25519 or hs256")
            }
            if let kid { line.add("kid", kid) }
            if json { Output.line(line) }
        }
    }
}

/// Times of tokens, as people write and read them.
enum TokenTime {
    /// Returns the seconds since 1970 of `30s`, `10m`, `1h`, `7d` from now on, or of a date in UTC.
    static func expiry(_ text: String, now: Int) throws -> Int {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let expiry: Int?
        if let unit = text.last.flatMap({ units[$0] }), let count = Int(text.dropLast()), count < 1 << 31 {
            expiry = now + count * unit
        } else {
            expiry = date(text)
        }
        guard let expiry else {
            throw CommandError(
                .usage, "--expires must be like 30s, 10m, 1h, 7d, 2030-01-31 or 2030-01-31T12:00:00Z, not '\(text)'")
        }
        guard expiry > now else { throw CommandError(.usage, "--expires \(text) is not in the future") }
        return expiry
    }

    private static func date(_ text: String) -> Int? {
        let day = try? Date(text, strategy: .iso8601.year().month().day())
        let date = (try? Date(text, strategy: .iso8601)) ?? (text.utf8.count == 10 ? day : nil)
        return date.map { Int($0.timeIntervalSince1970) }
    }

    static func text(_ seconds: Double) -> String {
        seconds < 0x1p40 ? Date(timeIntervalSince1970: seconds).formatted(.iso8601) : "\(seconds)"
    }
}
