"""A small client of the room protocol, for WebRTC stacks that are not ours.

It does what a member must do and no more: hello, numbering and acknowledgements, pings, the roster, and one negotiation
per pair, in which the participant with the smaller id offers. It heals nothing: when the server's connection ends, it
ends. It declares no capability, so other members open plain data channels towards it.
"""

import asyncio
import json
import secrets

import websockets


class RoomError(Exception):
    """The server refused or ended the connection."""


class RoomClient:
    """One membership. `handler` gets `joined(message)`, `peer_joined(participant)`, `peer_left(id)`,
    `signal(signal)`, and `negotiated(pair)` of its pairs."""

    def __init__(self, handler):
        self.handler = handler
        self.id = None
        self.roster = {}
        self._socket = None
        self._sent = 0
        self._received = 0

    async def run(self, url, room, name, role):
        """Returns after `leave`; raises `RoomError` when the server ends the connection."""
        async with websockets.connect(url, max_size=1 << 20) as socket:
            self._socket = socket
            await self._write(hello(room, name, role))
            try:
                async for text in socket:
                    await self._take(json.loads(text))
            except websockets.ConnectionClosedError as error:
                raise RoomError(f"the server's connection broke: {error}") from error

    async def leave(self):
        await self._write({"type": "leave"})
        await self._socket.close()

    async def signal(self, peer, connection, negotiation, body):
        """Sends to a participant of the roster; does nothing when it has left."""
        participant = self.roster.get(peer)
        if participant is None:
            return
        self._sent += 1
        await self._write(
            {
                "type": "signal",
                "seq": self._sent,
                "ack": self._received,
                "peer": peer,
                "session": participant["session"],
                "connection": connection,
                "negotiation": negotiation,
                **body,
            }
        )

    async def _write(self, message):
        await self._socket.send(json.dumps(message))

    async def _take(self, message):
        sequence = message.get("seq")
        if sequence is not None:
            if sequence <= self._received:
                return
            self._received = sequence
            await self._write({"type": "ack", "received": self._received})
        kind = message["type"]
        if kind == "joined":
            self.id = message["participant"]
            self.roster = {entry["id"]: entry for entry in message["roster"]}
            await self.handler.joined(message)
            for entry in list(self.roster.values()):
                await self.handler.peer_joined(entry)
        elif kind == "peerJoined":
            entry = message["participant"]
            self.roster[entry["id"]] = entry
            await self.handler.peer_joined(entry)
        elif kind == "peerChanged":
            entry = message["participant"]
            self.roster[entry["id"]] = entry
        elif kind == "peerLeft":
            self.roster.pop(message["participant"], None)
            await self.handler.peer_left(message["participant"])
        elif kind == "signal":
            await self.handler.signal(message)
        elif kind == "ping":
            await self._write({"type": "pong", "id": message["id"]})
        elif kind == "error" and message.get("fatal"):
            raise RoomError(f"{message['code']}: {message['message']}")


def hello(room, name, role):
    return {
        "type": "hello",
        "version": 1,
        "minimumVersion": 1,
        "room": room,
        "role": role,
        "name": name,
        "metadata": {},
        "capabilities": [],
    }


class Pair:
    """The negotiation with one other participant. `make_connection(pair)` makes the WebRTC connection of the stack
    under test: `offer()`, `answer(sdp)` and `accept(sdp)` (coroutines), `add_candidate(candidate or None)`,
    `close()`, and `can_restart`: then `offer(restart=True)` describes a new path. `setup` is the role in DTLS that the
    stack takes: active, passive, or None for its own choice."""

    def __init__(self, client, peer, make_connection, setup=None):
        self.client = client
        self.setup = setup
        self.is_dtls_client = None
        self.peer = peer
        self.is_offerer = client.id.encode() < peer.encode()
        self.make_connection = make_connection
        self.connection = None
        self.connection_id = None
        self.negotiation = 0
        self._has_remote = False
        self._early = []
        self._is_described = False
        self._late = []

    async def start(self):
        if not self.is_offerer:
            return
        self.connection_id = secrets.token_hex(8)
        self._open()
        await self.offer()

    async def offer(self, **options):
        self.negotiation += 1
        sdp = await self.connection.offer(**options)
        await self._describe("offer", sdp.replace("a=setup:actpass", f"a=setup:{self.setup}") if self.setup else sdp)

    async def restart(self):
        """Makes or requests a new path."""
        if self.is_offerer:
            await self.offer(restart=True)
        else:
            await self._send({"restartRequest": {"reason": "asked for by the test"}})

    async def send_candidate(self, candidate, mid):
        """Adds a candidate, but not before its description."""
        body = {"candidate": {"candidate": candidate, "sdpMid": mid, "sdpMLineIndex": 0}}
        if self._is_described:
            await self._send(body)
        else:
            self._late.append(body)

    async def take(self, signal):
        description = signal.get("description", {})
        is_known = signal["connection"] == self.connection_id
        if description.get("type") == "offer":
            if self.is_offerer or is_known and signal["negotiation"] <= self.negotiation:
                return
            if not is_known:
                await self.close()
                self.connection_id = signal["connection"]
                self._has_remote = self._is_described = False
                self._open()
            self.negotiation = signal["negotiation"]
            answer = await self.connection.answer(description["sdp"])
            self.is_dtls_client = "a=setup:active" in answer
            await self._describe("answer", answer)
            await self._take_early()
            self.client.handler.negotiated(self)
        elif not is_known:
            return
        elif description.get("type") == "answer":
            if self.is_offerer and signal["negotiation"] == self.negotiation:
                self.is_dtls_client = "a=setup:passive" in description["sdp"]
                await self.connection.accept(description["sdp"])
                await self._take_early()
                self.client.handler.negotiated(self)
        elif "restartRequest" in signal:
            if self.is_offerer and self.connection.can_restart:
                await self.offer(restart=True)
        elif "candidate" in signal or "endOfCandidates" in signal:
            candidate = signal.get("candidate")
            if self._has_remote:
                await self.connection.add_candidate(candidate)
            else:
                self._early.append(candidate)

    async def close(self):
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    def _open(self):
        self.connection = self.make_connection(self)

    async def _describe(self, kind, sdp):
        await self._send({"description": {"type": kind, "sdp": sdp}})
        self._is_described = True
        late, self._late = self._late, []
        for body in late:
            await self._send(body)

    async def _take_early(self):
        self._has_remote = True
        early, self._early = self._early, []
        for candidate in early:
            await self.connection.add_candidate(candidate)

    async def _send(self, body):
        await self.client.signal(self.peer, self.connection_id, self.negotiation, body)


def run(main):
    """Runs a coroutine; a broken pipe to the runner and an interrupt are normal ends."""
    try:
        asyncio.run(main)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
