internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import Glibc
internal import RoomDemo
internal import TransportPluginAPI

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "A room server and two peers on this machine: watch them lose the server and the path, and recover.")

    @OptionGroup var common: CommonOptions

    @Flag(help: "One JSON object a line.") var json = false

    func run() async throws {
        let start = Timestamp.now()
        let demo = try Demo { [json] step in Self.print(step, since: start, json: json) }
        let watches = SignalWatch.interrupting { demo.stopAll() }
        defer { for watch in watches { watch.cancel() } }
        do {
            let result = try await demo.run()
            summarize(result, since: start)
            guard result.hasPassed else { throw ExitStatus.checkFailed }
        } catch let error as Demo.Failure {
            throw CommandError(.checkFailed, error.description)
        } catch let error as ChildProcess.NotStarted {
            throw CommandError(.checkFailed, error.description)
        }
    }

    private func summarize(_ result: DemoResult, since start: Timestamp) {
        if json {
            var line = JSONLine(event: "demo")
            line.add("passed", result.hasPassed)
            line.add("messages", result.messages)
            line.add("lost", result.lost)
            line.add("duplicated", result.duplicated)
            line.add("disordered", result.disordered)
            line.add("serverRecoveredIn", result.serverRecovery.inSeconds, digits: 3)
            line.add("pathRecoveredIn", result.pathRecovery.inSeconds, digits: 3)
            return Output.line(line)
        }
        let times = String(
            format: "server back: recovered in %.2f s; path back: recovered in %.2f s; \(result.messages) messages",
            result.serverRecovery.inSeconds, result.pathRecovery.inSeconds)
        let extra = result.disordered == 0 ? "" : ", out of order \(result.disordered)"
        Self.print(times, Output.bold, since: start)
        Self.print(
            "lost \(result.lost), duplicated \(result.duplicated)\(extra)",
            result.hasPassed ? Output.green : Output.red, since: start)
    }

    private static func print(_ step: Demo.Step, since start: Timestamp, json: Bool) {
        if json {
            var line = JSONLine(event: "step")
            line.add("message", step.message)
            if let took = step.took { line.add("seconds", took.inSeconds, digits: 3) }
            return Output.line(line)
        }
        let colour: Int? =
            switch step.kind {
            case .title: Output.bold
            case .plain, .detail: nil
            case .outage: Output.red
            case .recovery: Output.green
            }
        let indentation = step.kind == .detail ? "  " : ""
        let suffix = step.took.map { String(format: "  (%.3f s)", $0.inSeconds) } ?? ""
        print(indentation + step.message, colour, suffix, since: start)
    }

    private static func print(_ text: String, _ colour: Int?, _ suffix: String = "", since start: Timestamp) {
        let time = Output.coloured(String(format: "%7.2f s", (Timestamp.now() - start).inSeconds), Output.grey)
        Output.line("\(time)  \(StyledText(text, colour: colour))\(suffix)")
    }
}
