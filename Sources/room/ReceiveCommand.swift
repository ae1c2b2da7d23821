internal import ArgumentParser
internal import FileTransfer
internal import Foundation
internal import RoomConnection
internal import TransportPluginAPI

struct ReceiveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receive",
        abstract: "Take the files that somebody sends with `room send`.",
        discussion: """
            The code that the sender sees is asked for on a terminal, or read from the first line of standard input or \
            from ROOM_CODE. With --room, the sender is met in a room by its name, without a code, and the server is \
            trusted to introduce the right two.

            Count, size and names are shown, and nothing is written before you agree (--yes: without asking; with \
            --json: too). Files arrive under temporary names, .NAME.….part, are compared with the sender's SHA-256, \
            and get their names when they are whole. Nothing is written outside the folder, nothing is overwritten \
            unasked, and names that could mislead are refused. A sender that disappears is waited for. When a transfer \
            ends before its time, run the command again: it goes on with what is there.

            Examples:
              room receive
              room receive --into downloads --yes < code.txt
              room receive --room office --from alice --rename
              room receive --yes --into - < code.txt | tar x

            The exit status is 0 when everything is here, 1 when something could not be written or was damaged, 2 for \
            wrong usage, 3 when the server refused, 4 when a backend cannot run here, 6 when the files were declined, \
            7 when the code or the certificates were not proved, 8 when the transfer was interrupted and can be \
            continued, 9 when a file of the same name is here already, 130 after SIGINT, 141 when nobody reads \
            standard output any more.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Argument(
        help:
            """
            The code. As an argument it is visible in the list of processes for a moment, until this command has \
            overwritten it, and it stays in the shell's history: rather leave it out.
            """
    )
    var code: String?

    @Option(
        help:
            """
            The folder that receives; it is made if it does not exist. -: the files go to standard output when all are \
            whole, and messages to standard error.
            """
    )
    var into = "."

    @Option(help: "Meet in this room, without a code. The server is trusted to introduce the right two.")
    var room: String?

    @Option(help: "The name of the sender in the room. Default: the first participant that runs `room send`.")
    var from: String?

    @Option(help: "The name that the others in the room see. Default: a new one.") var name: String?
    @Flag(name: .shortAndLong, help: "Take the files without asking.") var yes = false
    @Flag(help: "Replace files that are there already.") var overwrite = false
    @Flag(help: "Give files whose names are taken a number: `name (2).txt`.") var rename = false
    @Flag(help: "One JSON object a line. Files are taken without asking.") var json = false

    func validate() throws {
        if room != nil, code != nil { throw ValidationError("a code and --room exclude each other") }
        if room == nil, from != nil { throw ValidationError("--from needs --room: with a code nobody else can come") }
        if overwrite, rename { throw ValidationError("--overwrite and --rename exclude each other") }
    }

    func run() async throws {
        let settings = try common.settings()
        let configuration = try transport.configuration(settings, common)
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        let asks = !yes && !json
        if asks, isatty(0) != 1 {
            throw CommandError(.usage, "nobody can be asked whether to take the files: give --yes, or --json")
        }
        var code: TransferCode?
        if room == nil {
            code = try CodeInput.given(self.code)
            if code == nil { code = try await CodeInput.read() }
        }
        let isPiped = into == "-"
        let folder = isPiped ? FileManager.default.temporaryDirectory.appendingPathComponent("room-\(UUID())") : nil
        defer { if let folder { try? FileManager.default.removeItem(at: folder) } }
        let manifest = Locked<Manifest?>(nil)
        try await TransferRun.perform(json: json, output: isPiped ? 2 : 1) { reporter, stops in
            let receiver = try FileReceiver(
                into: folder?.path ?? into, code: code, existing: overwrite ? .overwrite : rename ? .rename : .refuse)
            let desk = ReceiverDesk(receiver) { offer in
                reporter.offer(offer)
                manifest.withLock { $0 = offer.manifest }
                return asks ? await Self.consent(to: offer, reporter) : true
            } _: { event in
                reporter.event(event)
            }
            let run = TransferRun(
                role: .receive, room: code?.roomName ?? room ?? "",
                participant: name ?? TransferRun.freshName(.receive), partnerName: from, reporter: reporter)
            let status = try await run.run(configuration, registry, stops) {
                reporter.waiting("waiting for the sender")
            } _: { connections in
                try await desk.receive(connections)
            }
            if status == .done, let folder, let manifest = manifest.withLock({ $0 }) {
                try StandardStreams.write(manifest, in: folder)
            }
            return status
        }
    }

    private static func consent(to offer: FileReceiver.Offer, _ reporter: TransferReporter) async -> Bool {
        while true {
            reporter.ask("Take them? y: yes, n: no, l: list all  ")
            guard let answer = await StandardInput.line() else { return false }
            switch answer.trimmingCharacters(in: .whitespaces).lowercased() {
            case "y", "yes": return true
            case "n", "no": return false
            case "l", "list": reporter.listAll(offer.manifest)
            default: continue
            }
        }
    }
}
