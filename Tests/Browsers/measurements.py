"""Figures on one machine without a network between: `room` and Chromium, beside libdatachannel and Chromium."""

import json
import pathlib
import queue
import statistics
import sys
import time

from checks import BenchPeer
from drivers import DEADLINE, KINDS
from network import LabError, Namespace
from participants import BrowserPeer, PageServer, SwiftPeer
from processes import Child, Participant, make_folder

HERE = pathlib.Path(__file__).parent
CONNECTIONS = 15
ROUND_TRIPS = 2000
SECONDS = 3.0
MESSAGE = 16_384


class Machine:
    """A namespace with a server, a page server and Chromium. It stands for a site of the lab: `peer` is itself."""

    index = 1

    def __init__(self, tools):
        self.tools = tools
        self.folder = make_folder(tools.folder / "measurements")
        self.peer = Namespace("measure")
        # libdatachannel does not use the loopback interface.
        self.peer.ip("link add eth0 type veth peer name eth1", "addr add 10.1.1.1/24 dev eth0", "link set eth0 up",
                     "link set eth1 up", "route add default dev eth0")
        self._serial = 0
        self.server = Child("server", self.peer, [
            tools.room, "serve", "--host", "127.0.0.1", "--port", "0", "--session-key-file", "none"], self.folder)
        self.url = self.server.wait_event("listening")["url"]
        self.pages = PageServer(self.peer.inside, tools.client, "127.0.0.1", 0)
        chromium = KINDS["chromium"]
        self.browser = chromium(
            "chromium", self.folder, self.peer.command, self.peer.inside, chromium.plain_addresses())

    def room(self):
        self._serial += 1
        return f"measure-{self._serial}"

    def page(self, name, room, host=None):
        return BrowserPeer(name, self, self.browser, self.pages.url, room, self.folder, host, server=self.url)

    def close(self):
        self.browser.kill()
        self.pages.stop()
        self.server.stop()
        self.peer.remove()


class LocalSwift(SwiftPeer):
    def __init__(self, name, machine, room, host):
        self.site = machine
        self.received, self.sent_count, self._folder = {}, 0, machine.folder
        Participant.__init__(
            self, name, machine.peer, machine.tools.room, machine.folder, machine.url,
            ["--as-host"] if host else [], room)


class Baseline:
    """One data channel between libdatachannel and Chromium."""

    def __init__(self, machine):
        self.child = Child(
            "libdatachannel", machine.peer, [sys.executable, "-B", str(HERE / "baseline.py")], machine.folder)
        self.child.wait_event("ready")
        self.page_events = queue.SimpleQueue()
        self.page = machine.browser.open(machine.pages.url + "baseline.html", self._from_page)
        self._clock = time.time() - time.monotonic()
        self._opened = None
        started = time.monotonic()
        offer = self.page.evaluate("baseline.offer()")
        self.child.command_patiently(time.monotonic() + DEADLINE, do="answer", sdp=offer)
        answer = self.child.wait_event("answer")
        self.page.evaluate(f"baseline.answer({json.dumps(answer['sdp'])})")
        told = 0
        deadline = time.monotonic() + DEADLINE
        while self._opened is None or not any(event["event"] == "open" for event in self.child.events):
            if time.monotonic() > deadline:
                raise LabError("libdatachannel and Chromium did not connect")
            for event in self.child.events[told:]:
                told += 1
                if event["event"] == "candidate":
                    self.page.post(f"baseline.candidate({json.dumps(event['candidate'])}, {json.dumps(event['mid'])})")
            self._forward(0.002)
        opened = next(event["t"] for event in self.child.events if event["event"] == "open")
        self.connected_in = max(self._opened, opened) - started

    def _from_page(self, text):
        self.page_events.put(json.loads(text))

    def _forward(self, seconds):
        try:
            event = self.page_events.get(timeout=seconds)
        except queue.Empty:
            return
        if event["event"] == "open":
            self._opened = event["t"] - self._clock
        elif event["event"] == "candidate":
            self.child.command(do="candidate", candidate=event["candidate"], mid=event["mid"])

    def stop(self):
        self.page.close()
        self.child.stop()


def ask(child, answer, **command):
    count = len(child.events)
    child.command(**command)
    return child.wait(
        answer, lambda c: next((e for e in c.events[count:] if e["event"] == answer), None), 60)


def percentile_50(histogram):
    """The buckets are those of LatencyHistogram.swift."""
    pairs = list(zip(histogram["buckets"][::2], histogram["buckets"][1::2]))
    seen = 0
    for index, count in pairs:
        seen += count
        if seen * 2 >= histogram["count"]:
            shift = max(0, (index >> 7) - 1)
            low = index - (shift << 7) << shift
            return (low + (1 << shift) / 2) / 1000
    raise LabError("an empty histogram")


def megabytes_per_second(page):
    counted = page.evaluate("counted")
    return counted["bytes"] / (counted["last"] - counted["first"]) / 1000


def connections(machine, make_second):
    """The times from both joined to both connected."""
    times = []
    for number in range(CONNECTIONS):
        room = machine.room()
        first = machine.page("page", room, host="host")
        second = None
        try:
            first.wait_event("joined")
            second = make_second(room)
            for peer in (first, second):
                peer.wait_connected()
            joined = [peer.wait_event("joined")["t"] for peer in (first, second)]
            connected = [next(e["t"] for e in peer.named("peer") if e["state"] == "connected")
                         for peer in (first, second)]
            # The first one of a process warms caches.
            if number > 0:
                times.append(max(connected) - max(joined))
        finally:
            for peer in (first, second):
                if peer:
                    peer.stop()
    return statistics.median(times) * 1000


def measure(tools, missing, say):
    """Yields the figures one by one."""
    machine = Machine(tools)
    try:
        yield from figures(machine, missing, say)
    finally:
        machine.close()


def figures(machine, missing, say):
    def item(name, asked, measured, beside, faults):
        say(f"{'FAILED' if faults else 'ok'}: {name}: {measured}, beside it {beside}, asked {asked}")
        return {"name": name, "asked": asked, "measured": measured, "beside": beside, "faults": faults}

    baseline = None
    if "libdatachannel" in missing:
        say(f"SKIPPED: libdatachannel beside: {missing['libdatachannel']}")
    else:
        baseline = reference(machine)

    def beside(key, unit):
        return f"libdatachannel {baseline[key]:.0f} {unit}" if baseline else f"– ({missing['libdatachannel']})"

    def worse(value, limit):
        return [f"{value:.1f}, asked at most {limit:.1f}"] if value > limit else []

    swift = connections(machine, lambda room: LocalSwift("swift", machine, room, False))
    page = connections(machine, lambda room: machine.page("second", room))
    yield item("connect, Swift ↔ Chromium, from both joined, median", "≤ 20 ms", f"{swift:.1f} ms",
               f"Chromium ↔ Chromium {page:.1f} ms; {beside('connect', 'ms')} from its offer", worse(swift, 20))

    peer = BenchPeer("bench", machine.peer, [
        machine.tools.room, "bench-peer", "--server", machine.url, "--name", "swift", "--as-host"], machine.folder)
    chromium = None
    try:
        peer.wait_event("joined")
        chromium = machine.page("page", "bench")
        chromium.wait_connected()
        other = next(iter(chromium.connected()))
        chromium.call("echo()")
        ours = percentile_50(peer.ask("roundTrips", do="roundTrips", count=ROUND_TRIPS)["histogram"])
        yield item("round trip of 64 B, Swift asks, p50", "no worse than libdatachannel", f"{ours:.0f} µs",
                   beside("rtt", "µs"), worse(ours, baseline["rtt"]) if baseline else [])
        peer.ask("ok", do="echo")
        theirs = chromium.call(f"roundTrips('{other}', {ROUND_TRIPS})", 60)
        yield item("round trip of 64 B, Chromium asks, p50", "no worse than libdatachannel", f"{theirs:.0f} µs",
                   beside("page_rtt", "µs"), worse(theirs, baseline["page_rtt"]) if baseline else [])
        chromium.call("count()")
        peer.ask("flooded", do="flood", size=MESSAGE, seconds=SECONDS)
        rate = megabytes_per_second(chromium.page)
        limit = baseline["rate"] if baseline else 0
        yield item(f"throughput Swift → Chromium, messages of {MESSAGE >> 10} KiB", "no worse than libdatachannel",
                   f"{rate:.1f} MB/s", beside("rate", "MB/s"),
                   [f"{rate:.1f} MB/s, asked {limit:.1f}"] if rate < limit else [])
        peer.ask("ok", do="count")
        chromium.call(f"flood('{other}', {MESSAGE}, {SECONDS})", 60)
        counted = peer.ask("counted", do="counted")
        rate = counted["bytes"] / counted["seconds"] / 1e6
        yield item(f"throughput Chromium → Swift, messages of {MESSAGE >> 10} KiB", "–", f"{rate:.1f} MB/s", "–", [])
    finally:
        if chromium:
            chromium.stop()
        peer.stop()


def reference(machine):
    times = []
    for _ in range(5):
        pair = Baseline(machine)
        times.append(pair.connected_in)
        pair.stop()
    pair = Baseline(machine)
    try:
        pair.page.evaluate("baseline.echo()")
        rtt = ask(pair.child, "roundTrips", do="roundTrips", count=ROUND_TRIPS)["median"]
        ask(pair.child, "ok", do="echo")
        page_rtt = pair.page.evaluate(f"baseline.roundTrips({ROUND_TRIPS})", 60)
        pair.page.evaluate("baseline.count()")
        ask(pair.child, "flooded", do="flood", size=MESSAGE, seconds=SECONDS)
        return {"connect": statistics.median(times) * 1000, "rtt": rtt, "page_rtt": page_rtt,
                "rate": megabytes_per_second(pair.page)}
    finally:
        pair.stop()
