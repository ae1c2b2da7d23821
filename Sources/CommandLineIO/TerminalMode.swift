internal import Glibc
internal import TransportPluginAPI

/// A terminal that hands over single keys, until `restore()`: no echo, no lines. Signals (Ctrl-C) work as before.
package final class TerminalMode: Sendable {
    private let former: Locked<termios?>

    /// Nil where standard input and output are not both a terminal that can be drawn on.
    package init?() {
        guard isatty(0) == 1, isatty(1) == 1, let name = getenv("TERM"), String(cString: name) != "dumb" else {
            return nil
        }
        var settings = termios()
        guard tcgetattr(0, &settings) == 0 else { return nil }
        former = Locked(settings)
        apply()
    }

    /// Sets the mode again: after a stop (Ctrl-Z), the shell has restored its own.
    package func apply() {
        guard var settings = former.withLock({ $0 }) else { return }
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
        settings.c_iflag &= ~tcflag_t(IXON)
        tcsetattr(0, TCSADRAIN, &settings)
    }

    /// Restores the mode of before. Idempotent.
    package func restore() {
        guard var settings = former.withLock({ $0.take() }) else { return }
        tcsetattr(0, TCSADRAIN, &settings)
    }

    /// The terminal's width in columns; 80 where it does not say.
    package static var width: Int {
        var size = winsize()
        guard ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}
