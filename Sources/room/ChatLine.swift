/// A line that somebody has typed at a terminal: a message, or a command that begins with a slash.
enum ChatLine: Equatable {
    case message(String)
    /// A message to one participant: the name stands at the beginning of the text.
    case to(String)
    /// A file or folder, maybe behind the name of a participant.
    case send(String)
    case take
    case refuse
    /// The participant whose transfers are given up.
    case cancel(String)
    case who
    case help
    case quit
    case reconnect
    case unknown(String)
    case nothing

    init(_ line: String) {
        guard line.hasPrefix("/") else {
            self = line.isEmpty ? .nothing : .message(line)
            return
        }
        // Two slashes stand for a message that begins with one.
        guard !line.hasPrefix("//") else {
            self = .message(String(line.dropFirst()))
            return
        }
        let word = line.dropFirst().prefix { $0 != " " }
        let rest = String(line.dropFirst(word.count + 1).drop { $0 == " " })
        self =
            switch word {
            case "to": .to(rest)
            case "send": .send(rest)
            case "take": .take
            case "refuse": .refuse
            case "cancel": .cancel(rest)
            case "who": .who
            case "help", "": .help
            case "quit", "leave", "exit": .quit
            case "reconnect": .reconnect
            default: .unknown(String(word))
            }
    }

    static let summary = """
        /who                who is here, and how they are connected
        /to NAME TEXT       a message to one participant
        /send FILE          a file or folder to everybody whose program takes files
        /send NAME FILE     to one participant
        /take, /refuse      the files that somebody offers; they come into the folder of this program
        /cancel NAME        gives up the transfers to and from a participant, also one that is gone
        /reconnect          try the room server again now
        /quit               leave the room (Ctrl-D and Ctrl-C do, too)
        //text              a message that begins with a slash
        """
}
