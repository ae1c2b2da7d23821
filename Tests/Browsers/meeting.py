"""A lab with browsers, and meetings in it: rooms in which everybody sends numbered messages while something happens."""

import pathlib
import signal

from drivers import KINDS
from network import SERVER, LabError, Network
from participants import ORIGIN, BrowserPeer, PageServer, SwiftPeer
from processes import RoomServer, TurnServer, make_folder
from session import Session

# Within this many meetings both roles occur, except once in 16,000 times.
MEETINGS = 15


class Tools:
    def __init__(self, room, client, folder):
        self.room = str(pathlib.Path(room).resolve())
        self.client = str(pathlib.Path(client).resolve())
        self.folder = pathlib.Path(folder).resolve()


class Lab:
    """One network with a server, a TURN server, and a site for each of `kinds` (chromium, firefox, swift), where its
    browser runs. Rooms come and go in it. `is_secure`: pages count as those of https do."""

    def __init__(self, tools, name, kinds, is_secure=True):
        self.tools = tools
        self.folder = make_folder(tools.folder / name)
        self.kinds = kinds
        self.browsers = {}
        self.turn = self.server = self.pages = None
        self._rooms = 0
        self.network = Network(("port-restricted",) * len(kinds))
        try:
            self.turn = TurnServer(self.network, self.folder)
            self.turn.start()
            self.server = RoomServer(self.network, tools.room, self.folder)
            self.server.start()
            self.pages = PageServer(self.network.server.inside, tools.client)
            for site, kind in zip(self.network.sites, kinds):
                if kind in KINDS:
                    self.browsers[site.index] = KINDS[kind](
                        f"{kind}{site.index}", self.folder, site.peer.command, site.peer.inside,
                        KINDS[kind].secure_origin(ORIGIN) if is_secure else ())
        except BaseException:
            self.close()
            raise

    def meet(self, name, role=None, policy="all", host=1):
        """A meeting whose first participant is the offerer or the answerer towards the second. The ids decide, so rooms
        are tried until it is so."""
        for _ in range(MEETINGS):
            self._rooms += 1
            meeting = Meeting(self, make_folder(self.folder / name), f"room-{self._rooms}", policy, host)
            if role in (None, meeting.role()):
                try:
                    meeting.wait_until_whole()
                except BaseException:
                    meeting.close()
                    raise
                return meeting
            meeting.close()
        raise LabError(f"no participant was the {role} in {MEETINGS} meetings")

    def page(self, index, room, folder, host=None):
        """A participant of its own in the browser of a site."""
        browser = self.browsers[index]
        return BrowserPeer(
            browser.name, self.network.sites[index - 1], browser, self.pages.url, room, folder, host=host)

    def versions(self):
        return {browser.kind: browser.version for browser in self.browsers.values()}

    def close(self):
        for browser in self.browsers.values():
            browser.kill()
        if self.pages:
            self.pages.stop()
        for part in (self.server, self.turn):
            if part:
                part.stop()
        self.network.remove()


class Meeting(Session):
    """The facts are those of the network lab's `Session`."""

    def __init__(self, lab, folder, room, policy="all", host=1):
        self.lab = lab
        self.folder = folder
        self.room = room
        self.network, self.turn, self.server = lab.network, lab.turn, lab.server
        self.peers, self.forwarders, self.traffic = [], {}, None
        self._policy = policy
        order = sorted(self.network.sites, key=lambda site: site.index != host)
        try:
            for site in order:
                self.peers.append(self._make(site, is_host=site.index == host))
                self.peers[-1].wait_event("joined")
            self.peers.sort(key=lambda peer: peer.site.index)
        except BaseException:
            self.close()
            raise

    def _make(self, site, is_host):
        kind = self.lab.kinds[site.index - 1]
        name = f"{kind}{site.index}"
        if browser := self.lab.browsers.get(site.index):
            return BrowserPeer(
                name, site, browser, self.lab.pages.url, self.room, self.folder,
                host="host" if is_host else None, policy=self._policy)
        return SwiftPeer(
            name, site, self.lab.tools.room, self.folder, self.room, host=is_host, policy=self._policy)

    def role(self):
        """The one with the smaller id offers."""
        first, second = self.peers[:2]
        return "offerer" if first.id.encode() < second.id.encode() else "answerer"

    def wait_until_whole(self):
        for peer in self.peers:
            peer.wait_connected(len(self.peers) - 1, 30)

    def _facts(self, moments, counts):
        result = super()._facts(moments, counts)
        result["firsts"] = {
            f"{sender.name} → {receiver.name}": self.first_message((sender, receiver), moments)
            for sender, receiver in self.pairs() if self.is_hit((sender, receiver), moments)}
        return result

    def complaints(self):
        """What stands in the consoles, each line once."""
        return list(dict.fromkeys(f"{peer.name}: {text}" for peer in self.peers for text in peer.complaints()))

    def close(self):
        """The network, the servers and the browsers stay for the next meeting."""
        if self.traffic:
            self.traffic.stop()
        for peer in self.peers:
            peer.signal(signal.SIGCONT)
        for peer in self.peers:
            peer.stop()
        self.peers = []


__all__ = ["Lab", "LabError", "Meeting", "Tools", "SERVER"]
