internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import TransportPluginAPI

struct PluginsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugins", abstract: "List the backends: what they can do, and whether they can run here.")

    @OptionGroup var common: CommonOptions

    @Flag(help: "One JSON object a line.") var json = false

    func run() throws {
        let settings = try common.settings()
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        for (kind, descriptors) in [
            ("signaling", registry.signaling.map(\.descriptor)), ("peer", registry.peer.map(\.descriptor)),
        ] {
            for descriptor in descriptors { json ? report(kind, descriptor) : tell(kind, descriptor) }
        }
    }

    private func report(_ kind: String, _ descriptor: PluginDescriptor) {
        var line = JSONLine()
        line.add("kind", kind)
        line.add("name", descriptor.name)
        line.add("summary", descriptor.summary)
        line.add("capabilities", descriptor.capabilities.names)
        let reason = descriptor.unavailability()
        line.add("available", reason == nil)
        if let reason { line.add("reason", reason) }
        line.add(
            "options",
            descriptor.options.map { option in
                var line = JSONLine()
                line.add("name", option.name)
                line.add("help", option.help)
                return line
            })
        Output.line(line)
    }

    private func tell(_ kind: String, _ descriptor: PluginDescriptor) {
        Output.line("\(Output.coloured(descriptor.name, Output.bold))  \(kind)  \(descriptor.summary)")
        let names = descriptor.capabilities.names
        if !names.isEmpty { Output.line("    can: \(names.joined(separator: ", "))") }
        if let reason = descriptor.unavailability() {
            Output.line("    " + Output.coloured("cannot run here: \(reason)", Output.red))
        }
        for option in descriptor.options { Output.line("    \(option.name): \(option.help)") }
    }
}
