"""The checks of one meeting: ours and one foreign peer in one room."""

import base64
import hashlib
import os
import random
import time

from processes import Failure, Process

LARGE = 200_000
MAXIMUM = 262_144
# Of the stacks that take or send less. Pion's descriptions name no size, which means 64 KiB (RFC 8841 §6.1).
MAXIMA = {"pion": 65_536}
MEGABYTES = 64
GRACE = 4
# Of a foreign peer: by what the meeting is called, and the options of its process.
VARIANTS = {
    "": {},
    "active in DTLS": {"setup": "active"},
    "passive in DTLS": {"setup": "passive", "timed": ""},
    "without trickle": {"gathered": ""},
}
# The stacks that trickle or not, as they are asked to. The others do one of them here.
TRICKLES_AS_ASKED = ("pion",)


class Skip(Exception):
    """A check that cannot run here."""


class Meeting:
    """Ours and one foreign peer in one room."""

    def __init__(self, interop, stack, variant):
        self.interop = interop
        self.stack = stack
        self.variant = variant
        self.maximum = MAXIMA.get(stack, MAXIMUM)
        room = f"interop-{os.getpid()}-{interop.meetings}"
        self.ours = interop.ours(room)
        self.us = self.ours.expect("the joined event", lambda e: e["event"] == "joined")["self"]
        self.foreign = interop.foreign(stack, room, **VARIANTS[variant])
        self.them = self.foreign.expect("the joined event", lambda e: e["event"] == "joined")["self"]
        self.role = "offerer" if self.us.encode() < self.them.encode() else "answerer"

    def run(self):
        title = f"{self.stack}, ours as {self.role}"
        if self.variant:
            self.run_variant(title)
            return
        if not self.interop.check(f"{title}: connect", self.connect):
            self.interop.skip(f"{title}: everything else", "it did not connect")
            return
        large = "".join(chr(0x41 + i % 26) for i in range(LARGE))
        checks = [
            ("echo of text", lambda: self.echo("reliable", "Grüße, 世界 🌍")),
            ("echo of binary", lambda: self.echo("reliable", bytes(range(256)))),
            ("echo of an empty text", lambda: self.echo("reliable", "")),
            ("echo of 200 kB of text", lambda: self.large(large)),
            ("echo of 200 kB of binary", lambda: self.large(bytes(i * 7 % 256 for i in range(LARGE)))),
            ("every size up to the maximum, text and binary", self.sizes),
            (f"{MEGABYTES} MiB there and back, with a checksum", self.much),
            ("500 messages in order", self.many),
            ("ids of streams follow the roles in DTLS", self.parity),
            ("200 messages on an unordered channel", lambda: self.many_on("unordered")),
            ("200 messages on a lossy channel", lambda: self.many_on("lossy")),
            ("echo on an unordered channel", lambda: self.echo("unordered", "unordered")),
            ("echo on a lossy channel", lambda: self.echo("lossy", "lossy")),
            ("an ICE restart of ours under live data", lambda: self.restart(self.ours, self.them)),
            ("an ICE restart of theirs under live data", lambda: self.restart(self.foreign, self.us)),
            ("an ICE restart of ours whose candidates come late", self.late_restart),
            ("a channel that only theirs has", self.negotiated),
            ("a channel closed by theirs opens again", self.close_channel),
            ("leave", self.we_leave if self.role == "offerer" else self.they_leave),
        ]
        for name, body in checks:
            self.interop.check(f"{title}: {name}", body)

    def run_variant(self, title):
        def check():
            if self.stack == "libdatachannel" and self.role == "offerer" and self.variant == "passive in DTLS":
                raise Skip("the binding has no way to choose")
            self.connect()
            note = None if self.stack == "libdatachannel" else self.parity()
            for channel in ("reliable", "unordered", "lossy"):
                self.echo(channel, "one")
                self.echo(channel, bytes(20_000))
            return note

        is_good = self.interop.check(f"{title}: theirs {self.variant}", check)
        if is_good and self.variant == "passive in DTLS" and self.stack != "chromium":
            self.interop.check(f"{title}: abrupt death of theirs", self.they_die)

    # Checks

    def connect(self):
        self.ours.expect("a connected peer", self.is_peer(self.them, "connected"))
        self.foreign.expect("an open channel", lambda e: e["event"] == "opened" and e["peer"] == self.us)

    def echo(self, channel, data):
        ours, theirs = len(self.ours.events), len(self.foreign.events)
        self.send(channel, data)
        kind, size = ("text", len(data.encode())) if isinstance(data, str) else ("binary", len(data))
        is_it = lambda e: e["event"] == "received" and (e["kind"], e["bytes"]) == (kind, size)
        self.foreign.expect(f"word of {size} bytes of {kind}", is_it, theirs)
        is_echo = lambda e: e["event"] == "message" and e["from"] == self.them and e["channel"] == channel
        back = self.ours.expect("the echo", is_echo, ours)
        if content(back) != (data.encode() if isinstance(data, str) else data):
            raise Failure(f"the echo differs: {str(back)[:200]}")

    def large(self, data):
        if len(data) <= self.maximum:
            self.echo("reliable", data)
            return None
        if self.interop.options.subject != "room":
            raise Skip(f"{self.stack} takes messages of at most {self.maximum} bytes")
        since = len(self.ours.events)
        self.send("reliable", data)
        is_refusal = lambda e: e["event"] == "error" and e["code"] == "message_too_large"
        self.ours.expect("the refusal", is_refusal, since)
        return f"refused, as theirs takes at most {self.maximum} bytes"

    def many(self):
        since = len(self.ours.events)
        for i in range(500):
            self.send("reliable", f"many {i}")
        self.ours.expect("the last echo", lambda e: e["event"] == "message" and content(e) == b"many 499", since)
        self.compare_echoes([f"many {i}" for i in range(500)], since)

    def sizes(self):
        sizes = {1, 1200, 16_384, 65_535, 65_536, self.maximum - 1, self.maximum}
        for size in sorted(size for size in sizes if size <= self.maximum):
            self.echo("reliable", "x" * size)
            self.echo("reliable", bytes(i * 7 % 256 for i in range(size)))
        self.echo("reliable", b"")
        self.echo("unordered", bytes(self.maximum))
        return None if self.maximum == MAXIMUM else f"up to {self.maximum} bytes"

    def much(self):
        """Each message waits for the echo of the one 16 before it: a browser's buffer is not larger."""
        since, pieces = len(self.ours.events), MEGABYTES * (1 << 20) // self.maximum
        randomness, expected, actual = random.Random(1), hashlib.sha256(), hashlib.sha256()
        arrived, index = 0, since
        start = time.monotonic()

        def take(event):
            nonlocal arrived
            if event["event"] == "message":
                actual.update(content(event))
                arrived += 1
            return event["event"] == "message"

        for number in range(pieces + 16):
            if number < pieces:
                piece = randomness.randbytes(self.maximum)
                expected.update(piece)
                self.send("reliable", piece)
            while arrived <= number - 16:
                event = self.ours.expect(f"echo {arrived}", lambda e: e["event"] == "message", index)
                index = self.ours.events.index(event, index) + 1
                take(event)
        if actual.digest() != expected.digest():
            raise Failure("the checksums differ")
        return f"{2 * MEGABYTES * (1 << 20) / (time.monotonic() - start) / 1e6:.1f} MB/s in all"

    def many_on(self, channel):
        """None comes twice; where nothing is lost below, none is missing either."""
        since = len(self.ours.events)
        for number in range(200):
            self.send(channel, f"{channel} {number}")
        deadline = time.monotonic() + 20
        while True:
            texts = [e["text"] for e in self.ours.events[since:] if e["event"] == "message"]
            if len(texts) >= 200 or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        expected = {f"{channel} {number}" for number in range(200)}
        if len(texts) != len(set(texts)) or not set(texts) <= expected:
            raise Failure(f"{len(texts)} messages came, {len(set(texts))} different ones")
        if channel != "lossy" and len(texts) < 200:
            raise Failure(f"{len(texts)} of 200 messages came")
        return f"{len(texts)} of 200"

    def parity(self):
        """RFC 8832 §6: the client of DTLS opens even streams. The offerer opens all of them here."""
        index = 0
        for _ in range(3):
            opening = self.foreign.expect("an open channel", lambda e: e["event"] == "opened", index)
            index = self.foreign.events.index(opening, index) + 1
        opened = [e for e in self.foreign.events if e["event"] == "opened" and e["peer"] == self.us]
        if any(e["id"] is None for e in opened):
            raise Skip("the binding does not tell the ids")
        is_even = opened[0]["client"] != (self.role == "offerer")
        if any((e["id"] % 2 == 0) != is_even for e in opened):
            raise Failure(f"the streams {[e['id'] for e in opened]} should be {'even' if is_even else 'odd'}")
        return f"ours is the {'server' if opened[0]['client'] else 'client'}, streams {sorted(e['id'] for e in opened)}"

    def negotiated(self):
        """A message on a stream that was never opened at ours is ignored."""
        if self.stack == "libdatachannel":
            raise Skip("the binding has no negotiated channels")
        since = len(self.ours.events)
        self.foreign.command(do="negotiated", peer=self.us, id=101, text="unheard")
        self.echo("reliable", "heard")
        self.echo("reliable", "heard again")
        if any(e.get("text") == "unheard" for e in self.ours.events[since:]):
            raise Failure("ours reported it")

    def close_channel(self):
        if self.interop.options.subject != "room":
            raise Skip("the clients of the tests open nothing again")
        since = len(self.foreign.events)
        self.foreign.command(do="close", peer=self.us, channel="room.plain")
        is_open = lambda e: e["event"] == "opened" and e["channel"] == "room.plain"
        self.foreign.expect("the channel again", is_open, since)
        self.echo("reliable", "again")

    def they_die(self):
        start = time.monotonic()
        self.foreign.kill()
        self.ours.expect("the news of the death", self.is_peer(self.them, "left"))
        return f"known after {time.monotonic() - start:.1f} s with a grace period of {GRACE} s"

    def restart(self, restarter, peer):
        """Messages continue while one side restarts ICE: none is lost, duplicated or reordered, and they move to a new
        path."""
        if self.stack not in ("chromium", "libwebrtc", "pion"):
            raise Skip(f"{self.stack} has no ICE restart")
        before, since, theirs = self.path(), len(self.ours.events), len(self.foreign.events)
        sent = self.stream(0, lambda: len(self.ours.events) > since)
        restarter.command(do="restart", peer=peer)
        is_negotiated = lambda e: e["event"] == "negotiated" and e["peer"] == self.us
        sent = self.stream(sent, lambda: any(map(is_negotiated, self.foreign.events[theirs:])))
        deadline = time.monotonic() + 15
        while True:
            after = self.path()
            if self.is_new_path(before, after):
                break
            if time.monotonic() > deadline:
                print(*self.pairs, sep="\n")
                raise Failure(f"data does not run over the new path: before {before}, after {after}")
            sent = self.stream(sent, lambda: True)
        sent = self.stream(sent, lambda: False, limit=sent + 20)
        last = f"live {sent - 1}".encode()
        self.ours.expect("the last echo", lambda e: e["event"] == "message" and content(e) == last, since)
        times = self.compare_echoes([f"live {i}" for i in range(sent)], since)
        gap = max(b - a for a, b in zip(times, times[1:]))
        return f"{sent} messages, longest gap {gap * 1000:.0f} ms"

    def late_restart(self):
        """A browser that meets a check before its candidate drops the path, if another one works."""
        if self.stack != "chromium":
            raise Skip("one stack is enough")
        if self.role == "offerer":
            raise Skip("the candidates of ours are there before the answer of theirs")
        # Each of them, one after the other.
        self.foreign.command(do="delay", milliseconds=70)
        try:
            return self.restart(self.ours, self.them)
        finally:
            self.foreign.command(do="delay", milliseconds=0)

    def stream(self, number, is_done, limit=None):
        """Sends a numbered message every 20 ms until something has happened; the next number."""
        deadline = time.monotonic() + 15
        while True:
            self.send("reliable", f"live {number}")
            number += 1
            if is_done() or (limit is not None and number >= limit):
                return number
            if time.monotonic() > deadline:
                raise Failure(f"nothing happened within 15 s of a restart{self.foreign.complaint()}")
            time.sleep(0.02)  # The rate of the data, not a wait for anything.

    def is_new_path(self, before, after):
        """Ours must have a new generation and a new address; a browser may keep a socket of the old one for it."""
        if self.interop.options.subject != "room":
            return after != before
        return after["remote"] not in (None, before["remote"])

    def path(self):
        since = len(self.foreign.events)
        self.foreign.command(do="path", peer=self.us)
        event = self.foreign.expect("the path event", lambda e: e["event"] == "path", since)
        self.pairs = event.get("pairs")
        return {"local": event.get("local"), "remote": event.get("remote")}

    def compare_echoes(self, expected, since):
        echoes = [e for e in self.ours.events[since:] if e["event"] == "message" and e["from"] == self.them]
        actual = [content(e).decode(errors="replace") for e in echoes]
        if actual != expected:
            common = min(len(actual), len(expected))
            wrong = next((i for i in range(common) if actual[i] != expected[i]), common)
            raise Failure(f"{len(expected)} sent, {len(actual)} echoed; the first difference is at {wrong}")
        return [e["t"] for e in echoes]

    def we_leave(self):
        self.ours.command(do="leave")
        self.ours.expect("the left event", lambda e: e["event"] == "left")
        self.foreign.expect("the news that we left", self.is_peer(self.us, "left"))
        if isinstance(self.ours, Process) and (status := self.ours.exit_status()) != 0:
            raise Failure(f"ours exited with status {status}")

    def they_leave(self):
        self.foreign.command(do="leave")
        self.ours.expect("the news that they left", self.is_peer(self.them, "left"))
        self.we_leave_alone()

    def we_leave_alone(self):
        self.ours.command(do="leave")
        self.ours.expect("the left event", lambda e: e["event"] == "left")

    # Helpers

    def send(self, channel, data):
        payload = {"text": data} if isinstance(data, str) else {"data": base64.b64encode(data).decode()}
        self.ours.command(do="send", to=self.them, channel=channel, **payload)

    @staticmethod
    def is_peer(peer, state):
        return lambda e: e["event"] == "peer" and e["id"] == peer and e["state"] == state


def content(event):
    return event["text"].encode() if "text" in event else base64.b64decode(event["data"])
