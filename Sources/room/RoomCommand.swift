internal import ArgumentParser
internal import CLinux
internal import CommandLineIO
internal import Foundation
internal import RoomConnection
internal import RoomServer

/// `room`: the server, a participant for scripts and people, the demo, the benchmark.
struct RoomCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "room",
        abstract: "Rooms of peers that stay connected.", version: RoomServer.version,
        subcommands: [
            ServeCommand.self, TokenCommand.self, AdminCommand.self,
            ConnectCommand.self, SendCommand.self, ReceiveCommand.self, DemoCommand.self, PluginsCommand.self,
            ConformCommand.self, DoctorCommand.self,
            BenchCommand.self, SimulateCommand.self, BenchPeerCommand.self, BenchSignalingCommand.self,
            AutobahnClientCommand.self,
        ])
}

/// The meaning of the command's exit status.
enum ExitStatus: Int32, Error {
    case done = 0
    /// A message did not reach everybody, or nobody was there; a file could not be read or written; a server could not
    /// start or go on, with settings that are right.
    case undelivered = 1
    /// Usage or configuration error.
    case usage = 2
    /// Refused by the server; the code is in the last `error` event.
    case refused = 3
    /// A backend is unavailable on this machine.
    case unavailable = 4
    /// A check failed.
    case checkFailed = 5
    /// The other side does not want the files, or cannot take them.
    case declined = 6
    /// The other side did not prove the code, or its certificate.
    case notProved = 7
    /// A transfer was interrupted; started again, it continues.
    case canContinue = 8
    /// A file of the same name is there already.
    case exists = 9
    case interrupted = 130
    /// Nobody reads standard output any more: the status of a program that SIGPIPE ends.
    case readerGone = 141
}

/// An error that ends the command with one sentence on standard error.
struct CommandError: Error {
    var status: ExitStatus
    var message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    init(_ error: RoomError) {
        switch error.code {
        case .configuration: self.init(.usage, error.message)
        case .unavailable: self.init(.unavailable, error.message)
        default: self.init(.refused, error.description)
        }
    }
}

@main
enum Main {
    /// Descriptors for some ten thousand peers. More would only make the tables of some libraries larger.
    private static let descriptors: UInt64 = 65_536

    static func main() async {
        ProcessList.hideSecrets()
        openStandardDescriptors()
        // Some libraries ignore it for the whole process, some do not: for all of them, a write that nobody reads
        // should be an error.
        signal(SIGPIPE, SIG_IGN)
        _ = CLinux_raise_descriptor_limit(descriptors)
        let status = await run()
        await LogLevels.finish()
        exit(status.rawValue)
    }

    private static func run() async -> ExitStatus {
        do {
            var command = try RoomCommand.parseAsRoot()
            // A server continues to serve; a command that is in a room leaves it first.
            let isInRoom = command is ConnectCommand || command is SendCommand || command is ReceiveCommand
            if !(command is ServeCommand), !isInRoom {
                Output.whenReaderIsGone {
                    ChildProcess.stopAll()
                    _exit(ExitStatus.readerGone.rawValue)
                }
            }
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let status as ExitStatus {
            return status
        } catch let error as CommandError {
            Output.printError("room: \(error.message)")
            return error.status
        } catch let error as RoomError {
            let error = CommandError(error)
            Output.printError("room: \(error.message)")
            return error.status
        } catch {
            // Errors of the argument parser: help and version are none.
            let message = RoomCommand.fullMessage(for: error)
            if RoomCommand.exitCode(for: error) == .success {
                print(message)
                return .done
            }
            Output.printError(message)
            return .usage
        }
        return .done
    }

    /// Opens the standard descriptors that the parent process closed. Otherwise the next socket would get their number,
    /// and the output.
    private static func openStandardDescriptors() {
        for descriptor in 0...2 as ClosedRange<Int32> where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            // The lowest free number is taken: this one.
            _ = open("/dev/null", descriptor == 0 ? O_RDONLY : O_WRONLY)
        }
    }
}
