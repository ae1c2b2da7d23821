internal import ArgumentParser
internal import FileTransfer
internal import Foundation
internal import RoomConnection

struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send files and folders to somebody, through every outage.",
        discussion: """
            Without --room, a code is printed, with which `room receive` on the other machine takes the files. The \
            code is a secret of 130 bits. It never reaches the room server: both sides prove to each other that they \
            have it and see the same certificates before anything is sent, so that nobody, the server included, can \
            sit between them. With --room, the two meet in a room by its name, and the server is trusted to \
            introduce the right two.

            The command stays until the receiver has everything. A receiver that ends in the middle can be started \
            again, and so can this command, with --code or the same room: what has arrived is kept. Bytes count as \
            done when the receiver has written them. Symbolic links inside folders are not sent.

            Examples:
              room send photo.jpg music/
              room send backup.tar --room office --to server
              tar c photos | room send -
              ROOM_CODE=… room send backup.tar          go on after this side was ended

            The exit status is 0 when the receiver has everything, 1 when something could not be read or was \
            damaged, 2 for wrong usage, 3 when the server refused, 4 when a backend cannot run here, 6 when the \
            receiver does not want or cannot take the files, 7 when the code or the certificates were not proved, 8 \
            when the transfer was interrupted and can be continued, 130 after SIGINT, 141 when nobody reads standard \
            output any more.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Argument(help: "Files and folders. -: standard input, read to its end first and sent as `stdin`.")
    var files: [String]

    @Option(help: "Meet in this room, without a code. The server is trusted to introduce the right two.")
    var room: String?

    @Option(help: "The name of the receiver in the room. Default: the first participant that runs `room receive`.")
    var to: String?

    @Option(help: "The name that the others in the room see. Default: a new one.") var name: String?

    @Option(
        help:
            """
            Use this code again, to go on after this side was ended. For a moment it is visible in the list of \
            processes, and it stays in the shell's history: ROOM_CODE is better.
            """
    )
    var code: String?

    @Flag(help: "One JSON object a line.") var json = false

    func validate() throws {
        if room != nil, code != nil { throw ValidationError("--room and --code exclude each other") }
        if files.count(where: { $0 == "-" }) > 1 { throw ValidationError("standard input can be sent once") }
        if room == nil, to != nil { throw ValidationError("--to needs --room: with a code nobody else can come") }
    }

    func run() async throws {
        let settings = try common.settings()
        let code = room == nil ? try CodeInput.given(code) ?? TransferCode() : nil
        let server = try transport.server ?? settings.string("server")
        let configuration = try transport.configuration(settings, common)
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        let input = files.contains("-") ? try StandardStreams.readInput() : nil
        try await TransferRun.perform(json: json) { reporter, stops in
            let tree = try await SourceTree.listing(files, standardInput: input)
            reporter.sending(tree)
            let desk = SenderDesk(try FileSender(tree, code: code)) { reporter.event($0) }
            let run = TransferRun(
                role: .send, room: code?.roomName ?? room ?? "", participant: name ?? TransferRun.freshName(.send),
                partnerName: to, reporter: reporter)
            return try await run.run(configuration, registry, stops) {
                if let code {
                    reporter.code(code, server: server)
                } else {
                    reporter.waiting("waiting for \(to ?? "somebody who runs room receive") in the room \(run.room)")
                }
            } _: { connections in
                try await desk.serve(connections)
            }
        }
    }
}
