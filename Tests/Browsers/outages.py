"""What happens to a meeting: each outage has a name, a required figure, and its cause. The causes are those of the
network lab where it has them."""

import dataclasses
import os
import signal
import time

import rows
from session import Moments


@dataclasses.dataclass
class Outage(rows.Outage):
    # Seconds. None: no figure is required, but it must heal and lose nothing.
    asked: float | None = None
    # The same where the second participant is a browser too.
    asked_of_browsers: float | None = None
    # The longest time without a message, where data must not stop.
    gap_asked: float | None = None
    # Everybody is a new participant afterwards: what was under way to the old ones is reported as undelivered.
    are_new: bool = False
    # The first participant must be one of these.
    needs: tuple = ()

    def limit(self, kinds):
        return self.asked if "swift" in kinds else self.asked_of_browsers or self.asked


def server_killed(seconds, keeps_key=True):
    """Its memory is lost. The key that signs sessions is a file: with it the server recognises its participants."""

    def cause(session):
        began = time.monotonic()
        session.server.kill()
        if not keeps_key:
            os.remove(session.lab.folder / "session-key")
        time.sleep(seconds)
        return Moments(began, session.server.start(), measures=("signaling",))

    return cause


def reload(session):
    """The page is loaded anew. What it had received and not shown is gone with it: it returns as a new participant."""
    began = session.peer(1).reload()
    return Moments(began, began, (1,), is_change=True)


def hidden(seconds):
    """Another tab is in front. Everything must go on: there is nothing to heal."""

    def cause(session):
        page = session.peer(1).page
        began = time.monotonic()
        other = page.browser.open("about:blank")
        other.activate()
        time.sleep(seconds)
        ended = time.monotonic()
        page.activate()
        other.close()
        return Moments(began, ended, measures=("signaling",))

    return cause


def hidden_and_silent(seconds):
    """The path is lost and comes back while another tab is in front."""

    def cause(session):
        page = session.peer(1).page
        other = page.browser.open("about:blank")
        other.activate()
        moments = rows.silent(seconds)(session)
        deadline = moments.end + 20
        while time.monotonic() < deadline:
            if all(session.first_message(pair, moments) is not None for pair in session.pairs()):
                break
            time.sleep(0.05)
        page.activate()
        other.close()
        return moments

    return cause


def stopped(seconds):
    """All processes of the browser stand still, as those of a laptop that sleeps."""
    return rows.interrupted(
        seconds, lambda s: s.peer(1).signal(signal.SIGSTOP), lambda s: s.peer(1).signal(signal.SIGCONT), (1,))


def frozen(seconds):
    """The tab is frozen, as browsers do to save energy."""

    def cause(session):
        peer = session.peer(1)
        began = time.monotonic()
        peer.is_quiet = True
        peer.page.freeze()
        time.sleep(seconds)
        ended = time.monotonic()
        peer.page.freeze(False)
        peer.is_quiet = False
        return Moments(began, ended, (1,))

    return cause


OUTAGES = [
    Outage("silent-2", "path silent 2 s", rows.silent(2), 1.0),
    Outage("silent-6", "path silent 6 s", rows.silent(6), 1.0, is_short=True),
    Outage("silent-20", "path silent 20 s", rows.silent(20), 1.0),
    Outage("server-2", "server killed, back after 2 s", server_killed(2), 1.0, gap_asked=0.5, is_short=True),
    Outage("server-10", "server killed, back after 10 s", server_killed(10), 1.0, gap_asked=0.5),
    Outage("server-stateless-2", "server killed, back after 2 s with another key: everybody is new",
           server_killed(2, False), are_new=True),
    Outage("half-open-20", "way to the server half-open 20 s",
           rows.interrupted(20, lambda s: s.site(1).drop_server(), lambda s: s.site(1).stop_dropping(),
                            (), measures=("signaling",)), gap_asked=0.5),
    Outage("address-first", "the browser's address changes",
           rows.changed(lambda s: s.site(1).change_lan_address()), 6.0, is_short=True),
    Outage("address-second", "the other side's address changes",
           rows.changed(lambda s: s.site(2).change_lan_address(), (2,)), 1.0,
           asked_of_browsers=6.0, is_short=True),
    Outage("relay-silent-6", "TURN only, path silent 6 s", rows.silent(6), policy="relay"),
    Outage("relay-turn-1", "TURN only, TURN server killed, back after 1 s", rows.turn_killed(1), policy="relay"),
    Outage("reload", "page reloaded: it is new", reload, are_new=True, is_short=True),
    Outage("hidden-60", "tab in the background 60 s", hidden(60), gap_asked=0.5),
    Outage("hidden-silent-6", "tab in the background, path silent 6 s", hidden_and_silent(6)),
    Outage("stopped-30", "browser stopped (SIGSTOP) 30 s", stopped(30)),
    Outage("stopped-5", "browser stopped (SIGSTOP) 5 s", stopped(5), is_short=True),
    Outage("frozen-20", "tab frozen 20 s", frozen(20), needs=("chromium",)),
]
