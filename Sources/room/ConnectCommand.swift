internal import ArgumentParser
internal import CommandLineIO
internal import FileTransfer
internal import Foundation
internal import InProcessTransport
internal import RoomConnection
internal import TransportPluginAPI

struct ConnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect",
        abstract: "Join a room: send lines from standard input, print messages and events.",
        discussion: """
            Standard input waits until the room is joined. Each line is sent to everybody who is in the room then, on \
            the reliable channel; with --json each line is a command. In an empty room there is nobody to send to, and \
            that is said.

            The exit status is 0 when the room was left, 1 when --leave-at-eof was given and something did not reach \
            everybody in the room (or nobody was there), 2 for wrong usage, 3 when the server refused, 4 when a \
            backend cannot run here, 130 after SIGINT, 141 when nobody reads standard output any more. SIGTERM and \
            SIGHUP leave the room; a second SIGINT ends at once.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Argument(help: "The room's name.") var room: String
    @Option(help: "The name that the others see; unique in the room.") var name: String?
    @Flag(help: "Create the room and be its host.") var asHost = false
    @Flag(help: "Wait for the room's host when the room does not exist yet.") var waitForHost = false
    @Flag(help: "Create the room and be its host when it does not exist, else join it.") var hostIfFirst = false
    @Flag(help: "One JSON object a line, on standard input and output.") var json = false

    @Flag(
        help: "Leave the room when standard input has ended and everybody has the messages (after at most 30 seconds).")
    var leaveAtEof = false

    @Flag(help: .hidden)
    var faultInjection = false

    func validate() throws {
        guard [asHost, waitForHost, hostIfFirst].count(where: { $0 }) < 2 else {
            throw ValidationError("Give one of --as-host, --wait-for-host and --host-if-first.")
        }
    }

    private var role: HostRole {
        if waitForHost { return .awaited }
        return hostIfFirst ? .ifFirst : HostRole(asHost)
    }

    func run() async throws {
        let settings = try common.settings()
        guard let name = try name ?? settings.string("name") else {
            throw CommandError(.usage, "there is no name: give --name, ROOM_NAME or 'name' in the configuration file")
        }
        let configuration = try transport.configuration(settings, common)
        let faults = faultInjection ? ICEFaultControl() : nil
        // Before joining anything that would have to be left.
        let stops = StopSignals()
        defer { stops.cancel() }
        let (pressure, pressureFeed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let output = OutputQueue(
            descriptor: 1, onPressureChange: { pressureFeed.yield() }, onReaderGone: { stops.readerIsGone() })
        // Behind the last line of the output, whatever ends the command.
        let mode = json || leaveAtEof ? nil : TerminalMode()
        let terminal = mode.map { mode in
            TerminalView(
                room: room, name: name, messageLimit: configuration.maximumMessageSize, mode: mode, output: output)
        }
        defer { terminal?.close() }
        let resumed = terminal.map { terminal in SignalWatch(SIGCONT) { _ in terminal.drawInput() } }
        defer { resumed?.cancel() }
        let reporter = EventReporter(json: json, terminal: terminal, output: output)
        let status = try await TransportRuntime.withRunning(
            configuration,
            registry: try Backends.registry(faults: faults, plugins: settings.strings("plugins"))
        ) { runtime in
            reporter.ready()
            let room = try await runtime.open(
                room: room, as: name, host: role, metadata: terminal == nil ? [:] : RoomFiles.metadata)
            let session = ConnectSession(
                room: room, reporter: reporter, output: output, faults: faults, json: json, leaveAtEOF: leaveAtEof,
                messageLimit: configuration.maximumMessageSize,
                files: terminal.map { ConversationFiles(room, $0) })
            return await session.run(until: stops.stops, pressure)
        }
        // The room has been left. Waits for a reader that pauses, until a signal ends the wait.
        stops.isOver()
        terminal?.close()
        await output.finish(within: stops.hasStopped ? .seconds(1) : nil)
        if status != .done { throw status }
    }
}
