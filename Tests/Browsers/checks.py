"""What two participants do with each other when nothing is broken. Each check returns a note, or raises `Failure`."""

import json
import os
import pathlib
import threading
import time
import zlib

from network import PORT, SERVER, LabError
from participants import payload
from processes import DEADLINE, Child

MAXIMUM = 4 << 20
SIZES = (0, 1, 1000, 16_384, 65_536, 262_144, 1 << 20, MAXIMUM)


class Failure(Exception):
    """One sentence."""


class Skip(Exception):
    """One sentence: what is missing."""


def require(condition, sentence):
    if not condition:
        raise Failure(sentence)


class Program(Child):
    """A Swift program that prints lines which are not JSON."""

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append({"event": "line", "text": line.decode().rstrip("\n")})
                self.changed.notify_all()
        with self.changed:
            self.has_ended = True
            self.changed.notify_all()

    def write(self, line):
        os.write(self.process.stdin.fileno(), line.encode() + b"\n")

    def wait_line(self, part):
        self.wait(f"line with {part}", lambda child: any(part in event["text"] for event in child.events))


class BenchPeer(Child):
    """`room bench-peer`: one end of measurements, in the room `bench`."""

    def ask(self, answer, **request):
        count = len(self.events)
        self.command(**request)
        return self.wait(
            answer, lambda child: next((e for e in child.events[count:] if e.get("event") == answer), None), 60)


# Messages

def messages_of_all_sizes(meeting):
    """Text and bytes of every size up to the maximum, both ways, one after the other and in order"""
    for sender, receiver in meeting.pairs():
        since, expected = len(receiver.arrivals()), []
        for size in SIZES:
            for is_text in (False, True):
                sender.send_payload(receiver.id, size, is_text)
                # Swift reports valid UTF-8 as text, whatever it was sent as; so do bytes of length 0.
                expected.append((is_text or size == 0 and receiver.kind == "swift", size,
                                 zlib.adler32(payload(size, is_text=is_text))))
        expect_arrivals(receiver, since, expected, 60)
    return f"{2 * len(SIZES)} messages each way, up to {MAXIMUM >> 20} MiB"


def messages_at_once(meeting):
    """500 messages each way at the same time arrive in order"""
    first, second = meeting.peers[:2]
    starts = [(receiver, len(receiver.arrivals())) for receiver in (second, first)]
    threads = [threading.Thread(target=send_many, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [(True, len(f"many {i}"), zlib.adler32(f"many {i}".encode())) for i in range(500)]
    for receiver, since in starts:
        expect_arrivals(receiver, since, expected, 30)
    return "500 each way"


def send_many(sender, receiver):
    for number in range(500):
        sender.command_patiently(time.monotonic() + DEADLINE, do="send", to=receiver.id, text=f"many {number}")


def other_channels(meeting):
    """The unordered and the lossy channel carry text and bytes both ways"""
    for sender, receiver in meeting.pairs():
        since, expected = len(receiver.arrivals()), []
        for channel, size in (("unordered", 60_000), ("lossy", 900)):
            for is_text in (False, True):
                sender.send_payload(receiver.id, size, is_text, channel)
                expected.append((is_text, size, zlib.adler32(payload(size, is_text=is_text))))
        expect_arrivals(receiver, since, expected, 20, ordered=False)


def expect_arrivals(receiver, since, expected, seconds, ordered=True):
    def count(child):
        return sum(event["event"] == "message" for event in child.events) >= since + len(expected)

    try:
        receiver.wait("messages", count, seconds)
    except LabError as error:
        arrived = receiver.arrivals()[since:]
        missing = next((e for i, e in enumerate(expected) if i >= len(arrived) or arrived[i] != e), None)
        raise Failure(
            f"{receiver.name} has {len(arrived)} of {len(expected)} messages after {seconds} s; the first that is"
            f" missing: {describe(missing)}; {error}") from error
    arrived = receiver.arrivals()[since:]
    if not ordered:
        arrived, expected = sorted(arrived), sorted(expected)
    for index, pair in enumerate(zip(arrived, expected)):
        require(pair[0] == pair[1], f"message {index} at {receiver.name} is {describe(pair[0])}, "
                                    f"sent was {describe(pair[1])}")


def describe(arrival):
    if arrival is None:
        return "none"
    return f"{'text' if arrival[0] else 'bytes'} of {arrival[1]} bytes ({arrival[2]:08x})"


# Topics, requests, streams: between pages

def topics(meeting):
    """A topic has every value in order; a lossy one has some"""
    for sender, receiver in meeting.pairs():
        since = len(receiver.events)
        for name in ("reliable", "lossy"):
            receiver.call(f"subscribe('{name}-{sender.kind}', '{name}')")
        # A subscription is told to the others, who send nothing before.
        for index in range(20):
            accepted = publish_until_accepted(sender, f"reliable-{sender.kind}", index)
        for index in range(20):
            sender.call(f"publish('lossy-{sender.kind}', {index}, 'lossy')")
        values = lambda peer, name: [e["value"] for e in peer.events[since:]
                                     if e["event"] == "topic" and e["name"] == f"{name}-{sender.kind}"]
        receiver.wait("values", lambda peer: len(values(peer, "reliable")) >= 20 and values(peer, "lossy"))
        require(values(receiver, "reliable") == list(range(20)), f"came: {values(receiver, 'reliable')}")


def publish_until_accepted(sender, name, value):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if sender.call(f"publish('{name}', {json.dumps(value)})"):
            return
    raise Failure(f"nobody takes the topic {name}")


def requests(meeting):
    """Requests have their answers; failures have their codes; a timeout aborts the handler"""
    for asker, answerer in meeting.pairs():
        answerer.call("handle()")
        ask = lambda method, value, timeout=10: asker.call(
            f"request('{method}', {json.dumps(value)}, '{answerer.id}', {timeout})")
        for value in range(20):
            require(ask("double", value) == {"value": 2 * value}, f"double {value}: {ask('double', value)}")
        for method, code, timeout in (("fail", "handler_failed", 10), ("nothing", "unknown_method", 10),
                                      ("slow", "timed_out", 0.3)):
            answer = ask(method, 1, timeout)
            require(answer.get("code") == code, f"{method}: {answer}, expected {code}")
        answerer.wait_event("aborted")


def streams(meeting):
    """8 MiB as a stream, both ways, with checksums"""
    for sender, receiver in meeting.pairs():
        make = {"size": 8 << 20}
        result = sender.call(f"openStream('file', {json.dumps(make)}, '{receiver.id}')", 60)
        event = receiver.wait_event("stream")
        require(event.get("error") is None, f"the stream failed: {event.get('error')}")
        require((event["bytes"], event["sum"]) == (8 << 20, result["sum"]), f"came: {event}, sent: {result}")
        require(result["acknowledged"] == 8 << 20, f"acknowledged: {result}")


# Topics, requests, streams: with Swift

def with_swift(lab, folder):
    """Requests both ways and streams both ways, with `room bench-peer`"""
    peer = BenchPeer("bench", lab.network.sites[1].peer, [
        lab.tools.room, "bench-peer", "--server", f"ws://{SERVER}:{PORT}/", "--name", "swift", "--as-host"], folder)
    page = None
    try:
        peer.wait_event("joined")
        page = lab.page(1, "bench", folder)
        page.wait_connected()
        other = next(iter(page.connected()))
        page.call("handle()")
        peer.ask("requests", do="requests", count=100)
        peer.ask("ok", do="answer")
        for value in range(20):
            answer = page.call(f"request('echo', {{n: {value}}}, '{other}', 10)")
            require(answer == {"value": {"n": value}}, f"echo {value}: {answer}")
        sent = peer.ask("streamed", do="stream", seconds=0.5, count=0)["bytes"]
        came = page.wait_event("stream")
        require(came["bytes"] == sent and came.get("error") is None, f"{sent} bytes were sent, came: {came}")
        peer.ask("ok", do="receiveStream")
        page.call(f"openStream('file', {{size: {8 << 20}}}, '{other}')", 60)
        received = peer.ask("received", do="received")["bytes"]
        require(received == 8 << 20, f"{received} bytes came of {8 << 20}")
        return f"a stream of {sent >> 20} MiB from Swift, of 8 MiB to it"
    finally:
        if page:
            page.stop()
        peer.stop()


def with_examples(lab, folder):
    """The topics and requests of ExampleChat and ExampleRobot"""
    programs = pathlib.Path(lab.tools.room).parent
    missing = [name for name in ("ExampleChat", "ExampleRobot") if not (programs / name).is_file()]
    if missing:
        raise Skip(f"{' and '.join(missing)} not beside {programs.name}/room")
    site = lab.network.sites[1]
    command = ["env", f"ROOM_SERVER=ws://{SERVER}:{PORT}/", "stdbuf", "-oL"]
    ends = []
    try:
        chat = Program("chat", site.peer, [*command, str(programs / "ExampleChat"), "chat-room", "swift"], folder)
        ends.append(chat)
        page = lab.page(1, "chat-room", folder, host="ifFirst")
        ends.append(page)
        page.wait_connected()
        page.call("subscribe('chat')")
        publish_until_accepted(page, "chat", {"text": "grüße"})
        chat.wait_line("grüße")
        chat.write("from Swift")
        page.wait("topic", lambda p: any(e["value"].get("text") == "from Swift" for e in p.named("topic")))

        robot = Program("robot", site.peer, [*command, str(programs / "ExampleRobot"), "robot"], folder)
        ends.append(robot)
        control = lab.page(1, "robot", folder, host="awaited")
        ends.append(control)
        control.wait_connected()
        control.call("subscribe('position', 'lossy')")
        other = next(iter(control.connected()))
        answer = control.call(f"request('move', {{x: 2, y: 1}}, '{other}', 10)")
        require(answer == {"value": {"x": 2, "y": 1}}, f"move: {answer}")
        answer = control.call(f"request('move', {{x: 99, y: 0}}, '{other}', 10)")
        require(answer == {"code": "refused", "failure": "too_far"}, f"move too far: {answer}")
        control.wait("position", lambda p: any(e["value"] == {"x": 2, "y": 1} for e in p.named("topic")))
    finally:
        for end in reversed(ends):
            end.stop()


def leave(meeting):
    """The one that leaves is gone at once for the other"""
    first, second = meeting.peers[:2]
    first.command(do="leave")
    first.wait_event("left")
    second.wait("news that the other left", lambda p: first.id not in p.peer_states(), 3)


MESSAGES = (messages_of_all_sizes, messages_at_once, other_channels)
EXCHANGE = (topics, requests, streams)
