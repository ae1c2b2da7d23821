"""Real peers, `room connect` as processes with WebRTC between them: each sends numbered messages to the others all the
while, and every message must arrive once and in order."""

import asyncio
import json
import time

from member import until


class Peer:
    INTERVAL = 0.1

    def __init__(self, executable, url, room, name):
        self.name = name
        self.command = [
            executable, "connect", room, "--name", name, "--json", "--server", url, "--host-if-first", "--log-level",
            "warning"]
        self.names = {}
        self.connected = set()
        self.sent = 0
        self.received = {}
        self.faults = []
        self.last = {}
        self.longest = 0
        self.joins = 0
        self.errors = []

    async def start(self, log):
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log)
        self.tasks = [asyncio.create_task(self.read())]

    async def read(self):
        async for line in self.process.stdout:
            event = json.loads(line)
            kind = event["event"]
            if kind == "message":
                self.take(event["from"], int(event["text"]))
            elif kind == "joined":
                self.joins += 1
            elif kind == "peer":
                self.names[event["id"]] = event["name"]
                if event["state"] == "connected":
                    self.connected.add(event["id"])
            elif kind == "error":
                self.errors.append(event)

    def take(self, sender, number):
        name = self.names.get(sender, sender)
        now = time.monotonic()
        expected = self.received.get(name, 0) + 1
        if number != expected:
            self.faults.append(f"{self.name} got {number} of {name}, not {expected}")
        self.received[name] = max(number, expected - 1)
        self.longest = max(self.longest, now - self.last.get(name, now))
        self.last[name] = now

    def begin(self):
        self.tasks.append(asyncio.create_task(self.send()))

    async def send(self):
        while True:
            self.sent += 1
            self.process.stdin.write(json.dumps({"do": "send", "text": str(self.sent)}).encode() + b"\n")
            await self.process.stdin.drain()
            await asyncio.sleep(self.INTERVAL)

    def stop(self):
        for task in self.tasks:
            task.cancel()
        if self.process.returncode is None:
            self.process.kill()


class PeerRooms:
    """Some rooms of three peers each."""

    def __init__(self, executable, url, rooms, name="peers"):
        self.rooms = [[Peer(executable, url, f"{name} {room}", f"p{room}.{index}") for index in range(3)]
                      for room in range(rooms)]
        self.peers = [peer for room in self.rooms for peer in room]

    async def start(self, log):
        """Returns the seconds until all were connected with each other; None: not in time."""
        since = time.monotonic()
        for peer in self.peers:
            await peer.start(log)
        is_connected = await until(lambda: all(len(peer.connected) == 2 for peer in self.peers), 30)
        took = time.monotonic() - since
        for peer in self.peers:
            peer.begin()
        return took if is_connected else None

    async def settle(self):
        """Waits for what was sent until now. Returns the faults since the last call, which are what was not received
        once and in order, or not in time, and the longest silence."""
        await until(lambda: all(peer.sent > 0 for peer in self.peers), 3)
        pairs = [(peer, other, other.sent) for room in self.rooms for peer in room for other in room if other != peer]

        def missing():
            return [(peer, other) for peer, other, sent in pairs if peer.received.get(other.name, 0) < max(sent, 1)]

        await until(lambda: not missing(), 3)
        faults = [fault for peer in self.peers for fault in peer.faults]
        faults += [f"{peer.name} hears nothing of {other.name}" for peer, other in missing()]
        longest = max(peer.longest for peer in self.peers)
        for peer in self.peers:
            peer.faults, peer.longest = [], 0
        return faults, longest

    @property
    def count(self):
        """Messages that were received."""
        return sum(sum(peer.received.values()) for peer in self.peers)

    @property
    def joins(self):
        return sum(peer.joins for peer in self.peers)

    @property
    def errors(self):
        return [error for peer in self.peers for error in peer.errors]

    def stop(self):
        for peer in self.peers:
            peer.stop()
