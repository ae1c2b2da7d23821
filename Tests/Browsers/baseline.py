"""libdatachannel (through pylibdatachannel) as one end of one data channel, to compare with: commands as JSON Lines on
standard input (`answer`, `candidate`, `echo`, `roundTrips`, `flood`), events on standard output."""

import json
import sys
import threading
import time

from pylibdatachannel import Candidate, Description, DescriptionType, PeerConnection

_lock = threading.Lock()


def emit(event, **fields):
    with _lock:
        print(json.dumps({"event": event, "t": time.monotonic(), **fields}), flush=True)


class End:
    def __init__(self):
        self.channel = None
        self.handler = lambda data: None
        self.connection = PeerConnection()
        self.connection.on_local_description(lambda description: emit("answer", sdp=description.description))
        self.connection.on_local_candidate(
            lambda candidate: emit("candidate", candidate=candidate.candidate, mid=candidate.mid))
        self.connection.on_data_channel(self.opened)

    def opened(self, channel):
        self.channel = channel
        channel.on_message(lambda data: self.handler(data))
        emit("open")

    def answer(self, sdp):
        self.connection.set_remote_description(Description(sdp, DescriptionType.OFFER))

    def candidate(self, candidate, mid):
        self.connection.add_remote_candidate(Candidate(candidate, mid or "0"))

    def echo(self):
        self.handler = self.channel.send
        emit("ok")

    def roundTrips(self, count):
        times = []
        message = bytes(64)

        def came(_):
            times.append(time.perf_counter() - self.sent)
            if len(times) == count:
                emit("roundTrips", median=sorted(times)[count // 2] * 1e6)
            else:
                self.sent = time.perf_counter()
                self.channel.send(message)

        self.handler = came
        self.sent = time.perf_counter()
        self.channel.send(message)

    def flood(self, size, seconds, window=4 << 20):
        """The other side tells how many bytes it has: the binding has no back-pressure of its own."""
        acknowledged = [0]
        changed = threading.Event()

        def came(data):
            acknowledged[0] = int(data)
            changed.set()

        self.handler = came
        message = bytes(size)
        end = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < end:
            if sent * size - acknowledged[0] > window:
                changed.wait(0.1)
                changed.clear()
                continue
            self.channel.send(message)
            sent += 1
        emit("flooded", messages=sent)


def main():
    end = End()
    emit("ready")
    for line in sys.stdin:
        command = json.loads(line)
        getattr(end, command.pop("do"))(**command)
    end.connection.close()


if __name__ == "__main__":
    main()
