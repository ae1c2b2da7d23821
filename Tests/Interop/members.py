"""Checks `room connect` against the Python client, once as offerer and once as answerer, and the Python client against
itself, in front of a server that is cut off, killed and started again. Every message to and from the server is
recorded. Started by `run`.
"""

import argparse
import base64
import hashlib
import os
import random
import signal
import sys
import time

from interop import FOLDER, Interop
from meeting import content
from processes import Failure, Process

MEGABYTE = 1 << 20
MEGABYTES = 64
GRACE = 4


class Members(Interop):
    def run_all(self):
        self.key = self.logs / "session.key"
        command = [self.options.python, str(FOLDER / "recorder.py"), self.options.traffic]
        self.recorder = Process("recorder", command, self.log("recorder"))
        try:
            self.server = self.recorder.expect("its address", lambda e: e["event"] == "listening")["url"]
            self.start_server()
            self.meet_in_both_roles("Python client", lambda: Meeting(self))
            self.meet_python()
        finally:
            self.stop_all()
            self.server_process.stop()
            self.recorder.stop()

    def start_server(self):
        arguments = [self.options.room, "serve", "--host", "127.0.0.1", "--port", "0", "--grace", str(GRACE)]
        self.server_process = Process("server", [*arguments, "--session-key-file", str(self.key)], self.log("server"))
        url = self.server_process.expect("the listening event", lambda e: e["event"] == "listening")["url"]
        self.recorder.command(do="target", url=url)

    def restart_server(self, has_key):
        self.server_process.kill()
        self.server_process.stop()
        if not has_key:
            self.key.unlink()
        self.start_server()

    def python(self, room, name, *arguments):
        command = [self.options.python, str(FOLDER / "python_client.py"), room, "--name", name, "--server", self.server]
        return self.start(Process(name, [*command, *arguments], self.log(name)))

    def meet_python(self):
        self.meetings += 1
        room = f"members-{os.getpid()}-{self.meetings}"
        try:
            pair = PythonPair(self, room)
            for name, body in pair.checks():
                if not self.check(f"Python client, with itself: {name}", body):
                    break
        finally:
            self.stop_all()


class Side:
    """One member of a meeting."""

    def __init__(self, process):
        self.process = process
        self.id = self.expect("the joined event", "joined")["self"]

    def expect(self, what, event, since=0, seconds=30, /, **fields):
        def matches(candidate):
            return candidate["event"] == event and all(candidate.get(name) == fields[name] for name in fields)

        return self.process.expect(what, matches, since, seconds)

    def messages(self, since):
        return [e for e in self.process.events[since:] if e["event"] == "message"]

    @property
    def now(self):
        return len(self.process.events)


class Meeting:
    """Ours and the Python client in one room."""

    def __init__(self, members):
        self.members = members
        self.room = f"members-{os.getpid()}-{members.meetings}"
        self.ours = self.connect_ours()
        self.theirs = Side(members.python(self.room, "theirs", "--role", "first"))
        self.role = "offerer" if self.ours.id.encode() < self.theirs.id.encode() else "answerer"

    def connect_ours(self):
        options = self.members.options
        arguments = [options.room, "connect", self.room, "--name", "ours", "--host-if-first", "--json"]
        arguments += ["--server", self.members.server, "--log-level", "debug"]
        return Side(self.members.start(Process("ours", arguments, self.members.log("ours"))))

    def run(self):
        title = f"Python client, ours as {self.role}"
        if not self.members.check(f"{title}: connect", self.connect):
            self.members.skip(f"{title}: everything else", "it did not connect")
            return
        checks = [
            ("text, binary and empty messages both ways", self.talk),
            ("a message of 4 MiB both ways, in parts", self.talk_at_length),
            (f"{MEGABYTES} MiB from ours, with a checksum", lambda: self.send_much(self.ours, self.theirs)),
            (f"{MEGABYTES} MiB from theirs, with a checksum", lambda: self.send_much(self.theirs, self.ours)),
            ("a request that ours does not know", self.ask),
            ("a topic beyond its window", self.publish),
            ("the server's connections cut: resume under live data", self.cut),
            ("the server killed and started again: rejoin under live data", self.kill_server),
            ("the server silent: noticed, and resumed under live data", self.silence_server),
            ("a restart of ours under live data", lambda: self.restart(self.ours, self.theirs, "restart")),
            ("a restart of theirs under live data", lambda: self.restart(self.theirs, self.ours, "restart")),
            ("a rebuild of theirs under live data", lambda: self.restart(self.theirs, self.ours, "rebuild")),
            ("the reliable channel closed by theirs under live data", self.close_channel),
            ("the server killed, its key lost: new sessions", self.kill_server_and_key),
            ("abrupt death", self.die),
        ]
        for name, body in checks:
            self.members.check(f"{title}: {name}", body)

    # Checks

    def connect(self, since=(0, 0)):
        for side, other, start in ((self.ours, self.theirs, since[0]), (self.theirs, self.ours, since[1])):
            side.expect("a connected peer", "peer", start, id=other.id, state="connected")

    def talk(self):
        for source, target in ((self.ours, self.theirs), (self.theirs, self.ours)):
            for payload in ("Grüße, 世界 🌍", "", b"", bytes(range(256)), "\ud7ff"):
                self.pass_on(source, target, payload)

    def talk_at_length(self):
        for source, target in ((self.ours, self.theirs), (self.theirs, self.ours)):
            self.pass_on(source, target, random.Random(1).randbytes(4 * MEGABYTE))

    def pass_on(self, source, target, payload):
        since = target.now
        send(source, target, payload)
        event = target.expect("the message", "message", since)
        if content(event) != (payload.encode() if isinstance(payload, str) else payload):
            raise Failure(f"the message differs: {str(event)[:200]}")

    def send_much(self, source, target):
        """The receiver's events have the content; both sides' checksums are of all of it."""
        since, randomness, expected = target.now, random.Random(source.id), hashlib.sha256()
        start = time.monotonic()
        for _ in range(MEGABYTES):
            piece = randomness.randbytes(MEGABYTE)
            expected.update(piece)
            send(source, target, piece)
        count = 0

        def is_last(event):
            nonlocal count
            count += event["event"] == "message"
            return count == MEGABYTES

        target.process.expect(f"message {MEGABYTES}", is_last, since, 120)
        seconds = time.monotonic() - start
        actual = hashlib.sha256()
        for event in target.messages(since):
            actual.update(content(event))
        if actual.digest() != expected.digest():
            raise Failure("the checksums differ")
        return f"{MEGABYTES * MEGABYTE / seconds / 1e6:.1f} MB/s"

    def ask(self):
        since = self.theirs.now
        self.theirs.process.command(do="request", to=self.ours.id, method="nothing", text="x")
        failure = self.theirs.expect("the failure", "failure", since)
        if failure["code"] != "unknown_method":
            raise Failure(f"the failure has the code {failure['code']}")

    def publish(self):
        """Messages that nobody subscribes to are consumed at once, so the window must grow with them."""
        for _ in range(20):
            self.theirs.process.command(do="publish", to=self.ours.id, topic="numbers", text="x" * 100_000)
        self.theirs.expect("the last message's departure", "published", topic="numbers", cost=20 * 100_064)

    def cut(self):
        def disturb():
            self.members.recorder.command(do="cut")

        def is_done(since):
            return all(any(e["event"] == "joined" for e in side.process.events[start:]) for side, start in since)

        note = self.live(disturb, is_done)
        for side in (self.ours, self.theirs):
            if not [e for e in side.process.events if e["event"] == "joined"][-1]["resumed"]:
                raise Failure(f"{side.process.name} rejoined")
        return note

    def kill_server(self):
        def is_done(since):
            return all(any(e["event"] == "joined" for e in side.process.events[start:]) for side, start in since)

        starts = self.ours.now, self.theirs.now
        note = self.live(lambda: self.members.restart_server(has_key=True), is_done)
        for side, start in zip((self.ours, self.theirs), starts):
            joined = side.expect("the rejoin", "joined", start)
            if joined["resumed"] or joined["self"] != side.id:
                raise Failure(f"{side.process.name} did not rejoin as itself: {joined}")
            if any(e["event"] == "peer" and e["state"] in ("joined", "left") for e in side.process.events[start:]):
                raise Failure(f"the peer's session was not kept, {side.process.name} says")
        return note

    def silence_server(self):
        """The server is stopped until both sides have noticed it by their pings."""
        server = self.members.server_process
        start = time.monotonic()
        noticed = None

        def is_in_all(since, event, **fields):
            return all(
                any(e["event"] == event and e.items() >= fields.items() for e in side.process.events[start:])
                for side, start in since
            )

        def is_done(since):
            nonlocal noticed
            if noticed is None and is_in_all(since, "signaling", status="disconnected"):
                noticed = time.monotonic()
                server.signal(signal.SIGCONT)
            return noticed is not None and is_in_all(since, "joined")

        try:
            note = self.live(lambda: server.signal(signal.SIGSTOP), is_done)
        finally:
            server.signal(signal.SIGCONT)
        return f"noticed by both after {noticed - start:.1f} s; {note}"

    def restart(self, side, other, verb):
        def is_done(since):
            return all(
                any(e["event"] == "peer" and e["state"] == "connected" for e in s.process.events[start:])
                for s, start in since
            )

        return self.live(lambda: side.process.command(do=verb, peer=other.id), is_done)

    def close_channel(self):
        def is_done(since):
            events = self.theirs.process.events[since[1][1]:]
            return any(e["event"] == "peer" and e["state"] == "connected" for e in events)

        return self.live(lambda: self.theirs.process.command(do="close", peer=self.ours.id), is_done)

    def kill_server_and_key(self):
        starts = self.ours.now, self.theirs.now
        self.members.restart_server(has_key=False)
        for side, start in zip((self.ours, self.theirs), starts):
            side.id = side.expect("the new join", "joined", start)["self"]
        self.connect(starts)
        self.pass_on(self.ours, self.theirs, "after")
        self.pass_on(self.theirs, self.ours, "after")

    def die(self):
        """The survivor hears of it after the grace period, and connects to the successor."""
        dead, survivor = (self.theirs, self.ours) if self.role == "offerer" else (self.ours, self.theirs)
        since = survivor.now
        start = time.monotonic()
        dead.process.kill()
        survivor.expect("the news of the death", "peer", since, id=dead.id, state="left")
        seconds = time.monotonic() - start
        if dead is self.theirs:
            self.theirs = Side(self.members.python(self.room, "theirs", "--role", "first"))
        else:
            self.ours = self.connect_ours()
        self.connect((since if survivor is self.ours else 0, since if survivor is self.theirs else 0))
        self.pass_on(self.ours, self.theirs, "hello")
        self.pass_on(self.theirs, self.ours, "hello")
        return f"known after {seconds:.1f} s with a grace period of {GRACE} s"

    # Live data

    def live(self, disturb, is_done):
        """Both sides send a numbered message every 20 ms, before a disturbance and until it is over; every message must
        arrive once, in order."""
        sides = [(self.ours, self.ours.now), (self.theirs, self.theirs.now)]
        count, deadline, end = 0, time.monotonic() + 60, None
        disturbed = None
        while end is None or count < end:
            for source, target in ((self.ours, self.theirs), (self.theirs, self.ours)):
                send(source, target, f"live {count}")
            count += 1
            if count == 10:
                since = [(side, side.now) for side, _ in sides]
                disturb()
                disturbed = time.monotonic()
            elif end is None and count > 10 and is_done(since):
                end = count + 20
            if time.monotonic() > deadline:
                raise Failure("it was not over within 60 s")
            time.sleep(0.02)  # The rate of the data, not a wait for anything.
        gaps = []
        for side, start in sides:
            last = f"live {count - 1}"
            side.process.expect("the last message", lambda e: e["event"] == "message" and e.get("text") == last, start)
            messages = side.messages(start)
            texts = [message.get("text") for message in messages]
            if texts != [f"live {number}" for number in range(count)]:
                wrong = next((i for i, text in enumerate(texts) if text != f"live {i}"), len(texts))
                raise Failure(f"{side.process.name} got {len(texts)} of {count}; the first difference is at {wrong}")
            times = [message["t"] for message in messages if message["t"] > disturbed - 0.1]
            gaps.append(max(b - a for a, b in zip(times, times[1:])))
        return f"{count} messages each way, longest gap {max(gaps) * 1000:.0f} ms"


class PythonPair:
    """Two Python clients: `first` is the host, `second` a guest who was there before."""

    def __init__(self, members, room):
        self.members = members
        guest = members.python(room, "ben", "--wait")
        guest.expect("the news that it waits", lambda e: e["event"] == "waiting")
        self.first = Side(members.python(room, "ann", "--role", "host"))
        self.second = Side(guest)

    def checks(self):
        return [
            ("wait for the room, and connect", self.connect),
            ("topics, reliable beyond the window, and lossy", self.publish),
            ("a request and its answer, text and binary", self.ask),
            ("a stream of 5 MB with a checksum", self.stream),
            ("a stream across a rebuild", self.stream_across_a_rebuild),
            ("one gives the other up, and meets it again", self.forget),
            ("metadata and attributes of the room", self.change),
            ("a message of the host that a guest must not send", self.overstep),
            ("the server goes away and comes back", self.go_away),
            ("the host removes a guest, and ends the room", self.end),
        ]

    def connect(self):
        self.first.expect("a connected peer", "peer", id=self.second.id, state="connected")
        self.second.expect("a connected peer", "peer", id=self.first.id, state="connected")

    def publish(self):
        self.second.process.command(do="subscribe", topic="news")
        self.ask()  # Its answer shows that the subscription was made.
        for number in range(20):
            self.first.process.command(do="publish", to=self.second.id, topic="news", text=f"{number} " + "x" * 50_000)
        self.second.expect("the last message", "topic", text="19 " + "x" * 50_000)
        since = self.second.now
        self.first.process.command(do="lossy", to=self.second.id, topic="news", text="now")
        self.second.expect("the lossy message", "topic", since, text="now", lossy=True)

    def ask(self):
        for payload in ({"text": "Grüße"}, {"data": base64.b64encode(bytes(range(256))).decode()}):
            since = self.second.now
            self.second.process.command(do="request", to=self.first.id, method="echo", **payload)
            self.second.expect("the answer", "answer", since, **payload)

    def stream(self):
        self.check_stream(lambda: None)

    def stream_across_a_rebuild(self):
        self.check_stream(lambda: self.second.process.command(do="rebuild", peer=self.first.id))

    def forget(self):
        """The numbers go on: nothing that was sent before is repeated, nothing that is sent afterwards is missing."""
        since = self.first.now, self.second.now
        self.first.process.command(do="forget", peer=self.second.id)
        self.first.expect("a connected peer", "peer", since[0], id=self.second.id, state="connected")
        self.second.expect("a connected peer", "peer", since[1], id=self.first.id, state="connected")
        since = self.first.now, self.second.now
        for source, target, start in ((self.first, self.second, since[1]), (self.second, self.first, since[0])):
            send(source, target, "again")
            target.expect("the message", "message", start, text="again")
        for number in range(10):
            self.first.process.command(do="publish", to=self.second.id, topic="news", text=f"{number}" + "y" * 50_000)
        self.second.expect("the last message", "topic", since[1], text="9" + "y" * 50_000)
        self.ask()
        self.stream()
        first = self.second.messages(since[1])[0]
        if first.get("text") != "again":
            raise Failure(f"another message came first: {str(first)[:100]}")

    def change(self):
        since = self.first.now, self.second.now
        self.second.process.command(do="update", metadata={"colour": "red"})
        self.first.expect("the metadata", "peer", since[0], state="changed", metadata={"colour": "red"})
        self.first.process.command(do="attributes", attributes={"map": "desert"})
        self.second.expect("the attributes", "attributes", since[1], attributes={"map": "desert"})

    def overstep(self):
        since = self.second.now
        self.second.process.command(do="kick", peer=self.first.id, reason="mutiny")
        self.second.expect("the refusal", "error", since, code="not_host")

    def go_away(self):
        since = self.first.now, self.second.now
        self.members.server_process.stop()
        self.members.start_server()
        for side, start in zip((self.first, self.second), since):
            side.expect("the return", "joined", start, self=side.id)
        self.ask()

    def end(self):
        self.first.process.command(do="kick", peer=self.second.id, reason="over")
        self.second.expect("the end", "error", code="kicked")
        self.first.expect("the news of it", "peer", id=self.second.id, state="left")
        self.first.process.command(do="end", reason="over")
        self.first.expect("the end", "error", code="room_closed")

    def check_stream(self, disturb):
        payload = random.Random(2).randbytes(5_000_000)
        starts = self.first.now, self.second.now
        text = base64.b64encode(payload).decode()
        self.first.process.command(do="stream", to=self.second.id, name="file", data=text, metadata={"kind": "test"})
        disturb()
        stream = self.second.expect("the stream's end", "stream", starts[1], 60)
        self.first.expect("its finish", "finished", starts[0], stream=stream["stream"])
        expected = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest(), "metadata": {"kind": "test"}}
        if any(stream[name] != value for name, value in expected.items()):
            raise Failure(f"the stream differs: {stream}")


def send(source, target, payload):
    body = {"text": payload} if isinstance(payload, str) else {"data": base64.b64encode(payload).decode()}
    source.process.command(do="send", to=target.id, **body)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--room", required=True, help="our executable")
    arguments.add_argument("--python", required=True, help="an interpreter that has websockets and aiortc")
    arguments.add_argument("--traffic", required=True, help="the file for all recorded messages")
    arguments.add_argument("--results", help="a file to which one line of JSON is added for each check")
    members = Members(arguments.parse_args())
    is_good = members.run()
    print(f"{members.passed} passed, {members.failed} failed, {members.skipped} skipped", flush=True)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
