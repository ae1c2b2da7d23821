"""A member of a room: the part of a client that talks to the server, with the standard library only."""

import asyncio
import base64
import json
import os
import random
import struct
import time
import urllib.parse


async def until(condition, seconds):
    """Waits for a fact. Returns whether it has come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(0.01)
    return True


class Ended(Exception):
    """The connection ended; the next attempt comes after `delay` seconds, None: by back-off."""

    def __init__(self, cause, delay=None):
        super().__init__(cause)
        self.delay = delay


class Socket:
    """A WebSocket connection (RFC 6455), text messages only."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @staticmethod
    async def open(url):
        place = urllib.parse.urlparse(url)
        reader, writer = await asyncio.wait_for(asyncio.open_connection(place.hostname, place.port), 2)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        except asyncio.IncompleteReadError as error:
            raise Ended("no answer to the handshake") from error
        if b" 101 " not in head.split(b"\r\n")[0]:
            writer.close()
            raise Ended(head.split(b"\r\n")[0].decode())
        return Socket(reader, writer)

    def send(self, message):
        self.frame(1, json.dumps(message).encode())

    def frame(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65_536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        self.writer.write(head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload)))

    async def receive(self):
        """The next message; None for a frame that is none."""
        try:
            first, second = await self.reader.readexactly(2)
            length = second & 127
            if length == 126:
                length, = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                length, = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Ended("the connection was lost") from error
        if first & 15 == 8:
            raise Ended("the server closed")
        if first & 15 == 9:
            self.frame(10, payload)
        return json.loads(payload) if first & 15 == 1 else None

    def close(self):
        self.writer.transport.abort()


class Member:
    """Stays in a room over as many connections as it takes. Tries the servers in turn, from its own on."""

    def __init__(self, urls, room, name, is_host):
        self.urls, self.room, self.name, self.is_host = urls, room, name, is_host
        self.id = self.session = self.token = None
        self.host = None
        self.roster = {}
        self.sent = self.received = self.attempt = 0
        self.unacknowledged = []
        self.socket = None
        self.is_joined = self.must_rejoin = False
        self.interval = self.deadline = 5
        self.heard = {}
        self.losses = self.rejoins = 0
        self.refused = None
        self.is_leaving = False
        self.task = asyncio.create_task(self.run())

    async def run(self):
        failures = 0
        while True:
            try:
                self.socket = await Socket.open(self.urls[0])
                await self.live()
            except (Ended, OSError, asyncio.TimeoutError) as error:
                if self.is_leaving:
                    return
                was_joined, self.is_joined = self.is_joined, False
                self.losses += was_joined
                failures = 0 if was_joined else failures + 1
                delay = getattr(error, "delay", None)
                if not was_joined:
                    self.urls = self.urls[1:] + self.urls[:1]
                if delay is None:
                    delay = random.uniform(0, min(0.1 * 2 ** failures, 1))
                await asyncio.sleep(delay)
            finally:
                if self.socket is not None:
                    self.socket.close()

    async def live(self):
        hello = {
            "type": "hello", "version": 1, "minimumVersion": 1, "room": self.room,
            "role": "host" if self.is_host and self.token is None else "guest", "wait": True, "name": self.name,
            "metadata": {}, "capabilities": []}
        if self.token is not None:
            self.attempt += 1
            hello["resume"] = {
                "sessionToken": self.token, "received": self.received, "mustRejoin": self.must_rejoin,
                "attempt": self.attempt}
        self.socket.send(hello)
        ping = 0
        while True:
            for patience in (self.interval, self.deadline):
                try:
                    message = await asyncio.wait_for(self.socket.receive(), patience)
                    break
                except asyncio.TimeoutError:
                    ping += 1
                    self.socket.send({"type": "ping", "id": ping})
            else:
                raise Ended("the server was silent")
            if message is not None:
                self.take(message)

    def is_next(self, number):
        """Acknowledges a numbered message. Returns whether it is new."""
        if number > self.received + 1:
            self.must_rejoin = True
            raise Ended("the server skipped a number", 0)
        is_new = number > self.received
        self.received += is_new
        self.socket.send({"type": "ack", "received": self.received})
        return is_new

    def take(self, message):
        if "ack" in message:
            self.acknowledge(message["ack"])
        if "seq" in message and not self.is_next(message["seq"]):
            return
        kind = message["type"]
        if kind == "joined":
            self.joined(message)
        elif kind in ("peerJoined", "peerChanged"):
            self.roster[message["participant"]["id"]] = message["participant"]
            if message["participant"]["host"]:
                self.host = message["participant"]["id"]
        elif kind == "peerLeft":
            self.roster.pop(message["participant"], None)
        elif kind == "hostChanged":
            self.token, self.host = message["sessionToken"], message.get("participant")
        elif kind == "signal":
            self.heard[message["peer"]] = json.loads(message["restartRequest"]["reason"])
        elif kind == "ack":
            self.acknowledge(message["received"])
        elif kind == "ping":
            self.socket.send({"type": "pong", "id": message["id"]})
        elif kind == "goingAway":
            after = message["retryAfter"]
            raise Ended("the server is going away", random.uniform(after["earliest"], after["latest"]))
        elif kind == "error" and message["fatal"]:
            if message["code"] in ("stale_epoch", "replaced"):
                self.must_rejoin = True
            elif not message["retryable"]:
                self.refused = message
            after = message.get("retryAfter") or {"earliest": 0, "latest": 0.2}
            raise Ended(message["code"], random.uniform(after["earliest"], after["latest"]))

    def acknowledge(self, number):
        self.unacknowledged = [message for message in self.unacknowledged if message["seq"] > number]

    def joined(self, message):
        self.id, self.session, self.token = message["participant"], message["session"], message["sessionToken"]
        self.interval, self.deadline = message["pingInterval"], message["pingDeadline"]
        self.roster = {participant["id"]: participant for participant in message["roster"]}
        hosts = [self.id] if message["host"] else [peer["id"] for peer in message["roster"] if peer["host"]]
        self.host = hosts[0] if hosts else None
        self.is_joined, self.must_rejoin = True, False
        if message["resumed"]:
            self.acknowledge(message["received"])
            for waiting in self.unacknowledged:
                self.socket.send(waiting)
        else:
            self.rejoins += 1
            self.sent = self.received = 0
            self.unacknowledged = []

    async def leave(self):
        """Leaves. Returns whether the server has closed the connection in time."""
        self.is_leaving = True
        self.socket.send({"type": "leave"})
        ended, _ = await asyncio.wait([self.task], timeout=5)
        self.task.cancel()
        return bool(ended)

    def probe(self):
        """Sends the time to everybody."""
        if not self.is_joined:
            return
        for peer in self.roster.values():
            if peer["id"] == self.id:
                continue
            self.sent += 1
            message = {
                "type": "signal", "peer": peer["id"], "session": peer["session"], "connection": "c", "negotiation": 1,
                "restartRequest": {"reason": json.dumps(time.monotonic())}, "seq": self.sent}
            self.unacknowledged.append(message)
            self.socket.send(message)


class Room:
    """The members of one room, the first one its host, each with a node of its own."""

    def __init__(self, urls, name, first, has_guests=True, is_pinned=False):
        """With `is_pinned`, no member tries another node than its own."""
        count = len(urls)
        self.name = name
        self.turned = [[urls[(first + index) % count]] for index in range(count)] if is_pinned else [
            urls[(first + index) % count:] + urls[:(first + index) % count] for index in range(count)]
        self.members = [self.make(0)]
        if has_guests:
            self.add_guests()

    def make(self, index):
        return Member(self.turned[index], self.name, f"m{index}", index == 0)

    def add_guests(self):
        self.members += [self.make(index) for index in range(len(self.members), len(self.turned))]

    def is_whole(self, since):
        """Whether everybody has heard from everybody what was sent after `since`, and knows the same members."""
        ids = {member.id for member in self.members}
        return all(
            member.is_joined and set(member.roster) == ids - {member.id}
            and all(member.heard.get(other, 0) >= since for other in ids - {member.id})
            for member in self.members)

    def hosts(self):
        """The hosts that the members see."""
        return {member.host for member in self.members}

    def probe(self):
        for member in self.members:
            member.probe()

    def stop(self):
        for member in self.members:
            member.task.cancel()
