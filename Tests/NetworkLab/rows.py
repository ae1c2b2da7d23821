"""The outages: each row of the table has a name, the required figure, a network, and its outage."""

import dataclasses
import signal
import time

from session import Moments

PORT_RESTRICTED = ("port-restricted",) * 3


@dataclasses.dataclass
class Outage:
    name: str
    title: str
    # Called with the session; returns the moments.
    cause: object
    _: dataclasses.KW_ONLY
    policy: str = "all"
    is_short: bool = False


@dataclasses.dataclass
class Row(Outage):
    # Seconds: median and worst. None: no figure is required, but it must recover and lose nothing.
    median: float | None = None
    worst: float | None = None
    # The signaling outage must be noticed within this.
    noticed: float | None = None
    group: str = "table"
    kinds: tuple = PORT_RESTRICTED
    # Seconds for which the outage leaves the paths between the peers alone.
    flows: int = 0


def interrupted(seconds, begin, end, hit=(1,), **options):
    """An outage with a start and an end."""

    def outage(session):
        began = time.monotonic()
        begin(session)
        time.sleep(seconds)
        # Before the command, which takes some milliseconds that count.
        ended = time.monotonic()
        end(session)
        return Moments(began, ended, hit, **options)

    return outage


def changed(change, hit=(1,)):
    """A permanent change."""

    def outage(session):
        began = time.monotonic()
        change(session)
        return Moments(began, time.monotonic(), hit, is_change=True)

    return outage


def silent(seconds):
    return interrupted(seconds, lambda s: s.site(1).drop_all(), lambda s: s.site(1).stop_dropping())


def silent_without_server(seconds):
    """The server is killed with the path, and stays down until the path is restored: nothing can be renegotiated."""

    def outage(session):
        began = time.monotonic()
        session.site(1).drop_all()
        session.server.kill()
        time.sleep(seconds)
        moments = Moments(began, time.monotonic(), (1,))
        session.site(1).stop_dropping()
        deadline = moments.end + 20
        while time.monotonic() < deadline:
            if all(session.first_message(pair, moments) is not None for pair in session.pairs()):
                break
            time.sleep(0.05)
        session.server.start()
        return moments

    return outage


def link_down(seconds, hit=(1,)):
    return interrupted(
        seconds,
        lambda s: [s.site(index).link_down() for index in hit],
        lambda s: [s.site(index).link_up() for index in hit], hit)


def server_killed(seconds):
    def outage(session):
        began = time.monotonic()
        session.server.kill()
        time.sleep(seconds)
        return Moments(began, session.server.start(), measures=("signaling",))

    return outage


def turn_killed(seconds):
    def outage(session):
        began = time.monotonic()
        session.turn.kill()
        time.sleep(seconds)
        return Moments(began, session.turn.start(), (1, 2, 3))

    return outage


def server_killed_and_address_changed(session):
    began = time.monotonic()
    session.server.kill()
    session.site(1).change_lan_address()
    time.sleep(2)
    return Moments(began, session.server.start(), (1,), measures=("path", "signaling"))


def changes_twice(session):
    """Two changes within a second: the second one finds the first recovery under way."""
    began = time.monotonic()
    session.site(1).change_lan_address()
    time.sleep(0.7)
    session.site(1).change_network()
    return Moments(began, time.monotonic(), (1,), is_change=True)


def both_addresses(session):
    began = time.monotonic()
    session.site(1).change_lan_address()
    session.site(2).change_lan_address()
    return Moments(began, time.monotonic(), (1, 2), is_change=True)


ROWS = [
    *[Row(f"silent-{s}", f"silent {s} s", silent(s), 0.2, 0.5, is_short=s == 6) for s in (2, 6, 20, 45)],
    *[Row(f"silent-server-{s}", f"silent {s} s, room server down as well", silent_without_server(s), 0.3, 0.8)
      for s in (2, 6, 20, 45)],
    *[Row(f"link-down-{s}", f"own link down {s} s", link_down(s), 0.2, 0.5, is_short=s == 6) for s in (6, 20)],
    Row("lan-address", "own LAN address changes", changed(lambda s: s.site(1).change_lan_address()), 0.5, 1.0,
        is_short=True),
    Row("nat-address", "NAT's public address changes", changed(lambda s: s.site(1).change_public_address()), 2.5, 3.5,
        is_short=True),
    Row("udp-blocked-20", "UDP blocked silently 20 s",
        interrupted(20, lambda s: s.site(1).drop_udp(), lambda s: s.site(1).stop_dropping()), 0.2, 0.5),
    Row("turn-1", "relay only: TURN server killed, back after 1 s", turn_killed(1), 2.5, 3.5, policy="relay",
        is_short=True),
    Row("turn-10", "relay only: TURN server killed, back after 10 s", turn_killed(10), 0.5, 1.0, policy="relay"),
    Row("server-2", "room server killed, back after 2 s", server_killed(2), 0.5, 1.2, is_short=True, flows=2),
    Row("server-10", "room server killed, back after 10 s", server_killed(10), 0.5, 1.2, flows=10),
    Row("half-open-20", "room server half-open 20 s",
        interrupted(20, lambda s: s.network.drop_server(), lambda s: s.network.stop_dropping_server(), (),
                    measures=("signaling",)), 0.5, 0.5, noticed=10.0, flows=20),
    Row("stopped-30", "one peer stopped (SIGSTOP) 30 s",
        interrupted(30, lambda s: s.peer(2).signal(signal.SIGSTOP), lambda s: s.peer(2).signal(signal.SIGCONT), (2,)),
        0.5, 1.0),
    Row("server-and-address", "room server killed and own address changed at once, back after 2 s",
        server_killed_and_address_changed, 1.0, 1.0),
    Row("three-of-eight", "three of eight peers lose their link for 10 s", link_down(10, (1, 2, 3)), 0.5, 1.0,
        kinds=("port-restricted",) * 8),

    # Beyond the table: no figure is required, but nothing may be lost.
    Row("one-way-out-6", "what the peer sends is dropped 6 s",
        interrupted(6, lambda s: s.site(1).drop_outgoing(), lambda s: s.site(1).stop_dropping()), group="more"),
    Row("one-way-in-6", "what the peer should get is dropped 6 s",
        interrupted(6, lambda s: s.site(1).drop_incoming(), lambda s: s.site(1).stop_dropping()), group="more"),
    Row("own-half-open-20", "one peer's way to the server half-open 20 s",
        interrupted(20, lambda s: s.site(1).drop_server(), lambda s: s.site(1).stop_dropping(), (),
                    measures=("signaling",)), noticed=10.0, group="more", flows=20),
    Row("own-half-open-60", "one peer's way to the server half-open 60 s",
        interrupted(60, lambda s: s.site(1).drop_server(), lambda s: s.site(1).stop_dropping(), (),
                    measures=("signaling",)), noticed=10.0, group="more", flows=60),
    Row("network", "another network: other subnet and gateway", changed(lambda s: s.site(1).change_network()),
        group="more"),
    Row("both-addresses", "two peers' LAN addresses change at once", both_addresses, group="more"),
    Row("twice", "another address, and another network 0.7 s later", changes_twice, group="more"),
    Row("mappings", "the NAT forgets its mappings, new ports", changed(lambda s: s.site(1).forget_mappings()),
        group="more", kinds=("symmetric",) * 3),
    Row("silent-20-symmetric", "silent 20 s, symmetric NATs (relayed)", silent(20), group="more",
        kinds=("symmetric",) * 3),
    Row("lan-address-symmetric", "own LAN address changes, symmetric NATs (relayed)",
        changed(lambda s: s.site(1).change_lan_address()), group="more", kinds=("symmetric",) * 3),
    Row("nat-address-mixed", "NAT's public address changes, four kinds of NAT",
        changed(lambda s: s.site(1).change_public_address()), group="more",
        kinds=("address-restricted", "full-cone", "port-restricted", "none")),
    Row("stopped-server-20", "room server stopped (SIGSTOP) 20 s",
        interrupted(20, lambda s: s.server.child.signal(signal.SIGSTOP),
                    lambda s: s.server.child.signal(signal.SIGCONT), (), measures=("signaling",)),
        noticed=10.0, group="more", flows=20),
]
