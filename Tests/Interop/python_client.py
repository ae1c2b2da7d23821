"""A client of the room protocol in one file, written from WireProtocol.md alone. It needs `websockets`, and `aiortc`
for its peer connections.

    python_client.py ROOM --name NAME --server URL [--role host|guest|first] [--wait] [--digest]

Standard input and output are those of `room connect --json`: commands `send`, `leave`, `reconnect`, `restart`; events
`joined`, `peer`, `message`, `sent`, `signaling`, `error`, `left`. Beyond them the commands `rebuild`, `close` (of the
reliable channel), `forget` (a peer, and meet it again), `publish`, `lossy`, `subscribe`, `request`, `stream`,
`update` (own metadata), and of the host `kick`, `attributes` (of the room) and `end` (of the room); and the events
`published`, `topic`, `answer`, `failure`, `stream`, `finished`, `stopped`, `waiting` and `attributes`. It answers the
request `echo`. With --digest, events of messages have `bytes` and `sha256` in place of their content.
"""

import argparse
import asyncio
import base64
import collections
import hashlib
import json
import random
import secrets
import struct
import sys
import time

import websockets
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

CAPABILITIES = ["delivery.v1", "exchange.v1", "attributes.v1", "message.max.4194304"]
CONNECT_SECONDS = 10
REOPEN_SECONDS = 2
ACKNOWLEDGE_SECONDS = 8
PART = 16_384
WRITE_AHEAD = 1 << 18
WINDOW = 262_144


class Refused(Exception):
    """The server ended the session permanently; `code` is its error code."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error


class Interrupted(Exception):
    """The connection to the server ended; the session can be resumed after `delay` seconds (None: by back-off)."""

    def __init__(self, cause, delay=None):
        super().__init__(cause)
        self.delay = delay


class Room:
    """One membership, over as many connections to the server as it takes. `emit(event, **fields)` gets the events."""

    def __init__(self, url, room, name, role, waits, emit):
        self.url, self.room, self.name, self.role, self.waits, self.emit = url, room, name, role, waits, emit
        self.metadata = {}
        self.attributes_version = 0
        self.id = self.session = self.session_token = None
        self.roster = {}
        self.pairs = {}
        self.former_pairs = {}
        self.subscriptions = set()
        self.ice_servers = []
        self.tasks = set()
        self.socket = None
        self.is_joined = self.has_left = self.must_rejoin = False
        self.sent = self.received = self.repeated = self.attempt = 0
        self.unacknowledged = collections.deque()
        self.ping_interval = self.ping_deadline = 5
        self.ping = 0
        self.extra_rejoins = 1

    # The connection to the server

    async def run(self):
        """Returns when the room has been left; raises `Refused` when it cannot be entered or stayed in."""
        failures = 0
        while not self.has_left:
            try:
                self.emit("signaling", status="connecting", attempt=failures + 1)
                await self.live_one_connection()
            except (Interrupted, OSError, TimeoutError, websockets.WebSocketException) as error:
                if self.has_left:
                    break
                failures = 0 if self.is_joined else failures + 1
                delay = getattr(error, "delay", None)
                if delay is None:
                    delay = random.uniform(0.05, 0.1) * 2 ** min(failures, 5)
                self.emit("signaling", status="disconnected", cause=str(error), nextAttemptIn=delay)
                self.is_joined, self.socket = False, None
                await asyncio.sleep(delay)

    async def live_one_connection(self):
        options = {"compression": None, "ping_interval": None, "close_timeout": 1, "max_size": 1 << 20, "proxy": None}
        async with websockets.connect(self.url, subprotocols=["room.v1"], open_timeout=5, **options) as self.socket:
            self.is_joined = False
            await self.write(self.hello())
            while True:
                message = await self.next_message()
                if message is None:
                    return
                await self.take(message)

    async def next_message(self):
        """The next message; sends pings while nothing comes. None when the room was left."""
        for patience in (self.ping_interval, self.ping_deadline):
            try:
                text = await asyncio.wait_for(self.socket.recv(), patience)
            except TimeoutError:
                self.ping += 1
                await self.write({"type": "ping", "id": self.ping})
                continue
            except websockets.ConnectionClosed as error:
                if self.has_left:
                    return None
                raise Interrupted(f"the server's connection ended: {error}") from error
            if isinstance(text, bytes):
                raise Interrupted("the server sent a binary message")
            return json.loads(text)
        self.socket.transport.abort()
        raise Interrupted("the server was silent")

    def hello(self):
        hello = {
            "type": "hello",
            "version": 1,
            "minimumVersion": 1,
            "room": self.room,
            "role": self.role,
            "wait": self.waits,
            "name": self.name,
            "metadata": self.metadata,
            "capabilities": CAPABILITIES,
        }
        if self.session_token is not None:
            self.attempt += 1
            hello["resume"] = {
                "sessionToken": self.session_token,
                "received": self.received,
                "mustRejoin": self.must_rejoin,
                "attempt": self.attempt,
            }
        return hello

    async def write(self, message):
        await self.socket.send(json.dumps(message))

    async def send(self, message):
        """Sends a numbered message now, or with the next resume."""
        self.sent += 1
        message = {**message, "seq": self.sent}
        self.unacknowledged.append(message)
        if self.is_joined:
            try:
                await self.write({**message, "ack": self.received})
            except websockets.ConnectionClosed:
                pass  # It is repeated after the resume.

    async def update(self, metadata):
        self.metadata = metadata
        await self.send({"type": "update", "metadata": metadata})

    async def update_room(self, attributes):
        self.attributes_version += 1
        await self.send(
            {"type": "updateRoom", "attributes": attributes, "attributesVersion": self.attributes_version})

    async def leave(self):
        for pair in self.pairs.values():
            pair.delivery.hint(2)
        self.has_left = True
        if self.is_joined:
            await self.write({"type": "leave"})
        if self.socket is not None:
            await self.socket.close()
        await asyncio.gather(*(pair.close() for pair in self.pairs.values()))

    # Messages of the server

    async def take(self, message):
        if "ack" in message:
            self.acknowledge(message["ack"])
        number = message.get("seq")
        if number is not None:
            if number > self.received + 1:
                self.must_rejoin = True
                raise Interrupted("the server skipped a number")
            is_new, self.received = number > self.received, max(self.received, number)
            await self.write({"type": "ack", "received": self.received})
            if not is_new:
                return
        kind = message["type"]
        # What was sent before the roster of a resume is older than it.
        is_older = number is not None and number <= self.repeated
        if kind == "joined":
            await self.joined(message)
        elif kind == "waiting":
            self.ping_interval, self.ping_deadline = message["pingInterval"], message["pingDeadline"]
            self.emit("waiting")
        elif kind == "roomChanged":
            self.take_attributes(message)
        elif kind in ("peerJoined", "peerChanged") and not is_older:
            await self.present(message["participant"])
        elif kind == "peerLeft" and not is_older:
            participant = self.roster.get(message["participant"])
            if participant is not None and participant["session"] == message["session"]:
                await self.gone(message["participant"])
        elif kind == "hostChanged":
            self.session_token = message["sessionToken"]
        elif kind == "signal":
            pair = self.pairs.get(message["peer"])
            if pair is not None and pair.session == message["session"]:
                pair.signals.put_nowait(message)
        elif kind == "iceServers":
            self.ice_servers = message["servers"]
        elif kind == "ack":
            self.acknowledge(message["received"])
        elif kind == "ping":
            await self.write({"type": "pong", "id": message["id"]})
        elif kind == "goingAway":
            after = message["retryAfter"]
            raise Interrupted("the server is going away", random.uniform(after["earliest"], after["latest"]))
        elif kind == "error":
            self.failed(message)

    def take_attributes(self, message):
        """Of two with the same version, the later message counts."""
        if message.get("attributesVersion", 0) >= max(self.attributes_version, 1):
            self.attributes_version = message["attributesVersion"]
            self.emit("attributes", attributes=message["attributes"])

    def acknowledge(self, number):
        while self.unacknowledged and self.unacknowledged[0]["seq"] <= number:
            self.unacknowledged.popleft()

    async def joined(self, message):
        is_first = self.id is None
        is_resumed = message["resumed"]
        if self.session not in (None, message["session"]):
            await asyncio.gather(*(pair.close() for pair in self.pairs.values()))
            self.pairs.clear()
            self.former_pairs.clear()
        self.id, self.session, self.session_token = message["participant"], message["session"], message["sessionToken"]
        self.ping_interval, self.ping_deadline = message["pingInterval"], message["pingDeadline"]
        self.ice_servers = message["iceServers"]["servers"] if message.get("iceServers") else []
        self.is_joined, self.must_rejoin, self.extra_rejoins = True, False, 1
        self.emit("signaling", status="connected")
        self.take_attributes(message)
        self.emit("joined", room=self.room, self=self.id, host=message["host"], epoch=message["epoch"],
                  resumed=is_resumed, roster=[p["id"] for p in message["roster"]])
        if is_resumed:
            self.acknowledge(message["received"])
            self.repeated = message.get("sent") or 0
            for unacknowledged in list(self.unacknowledged):
                await self.write({**unacknowledged, "ack": self.received})
        else:
            self.sent = self.received = self.repeated = 0
            self.unacknowledged.clear()
        present = {participant["id"]: participant for participant in message["roster"]}
        for participant in [known for known in self.roster if known not in present]:
            if is_resumed or is_first:
                await self.gone(participant)
            else:
                # The server may have lost its state: the participant has the grace period for its return.
                self.start(self.give_up_later(participant, self.roster[participant]["session"], message["grace"]))
        for participant in present.values():
            await self.present(participant, is_rejoin=not is_resumed and not is_first)
        for pair in self.pairs.values():
            pair.delivery.hint(1)

    async def give_up_later(self, participant, session, grace):
        pair = self.pairs.get(participant)
        if pair is not None:
            pair.is_missing = True
        await asyncio.sleep(grace)
        if pair is not None and pair.is_missing and self.pairs.get(participant) is pair:
            await self.gone(participant)

    async def present(self, participant, is_rejoin=False):
        known = self.roster.get(participant["id"])
        if known is not None and known["session"] != participant["session"]:
            await self.gone(participant["id"])
            known = None
        self.roster[participant["id"]] = participant
        pair = self.pairs.get(participant["id"])
        if pair is None:
            self.emit("peer", id=participant["id"], name=participant["name"], state="joined", host=participant["host"])
            pair = self.former_pairs.pop((participant["id"], participant["session"]), None)
            if pair is None:
                pair = Pair(self, participant)
            else:
                pair.meet_again()
            self.pairs[participant["id"]] = pair
            pair.start()
        elif is_rejoin or pair.is_missing or known is not None and participant["epoch"] > known["epoch"]:
            # Signals may have been lost in either direction.
            pair.is_missing = False
            pair.signals.put_nowait("renew")
        if known is not None and known["metadata"] != participant["metadata"]:
            self.emit("peer", id=participant["id"], state="changed", metadata=participant["metadata"])

    async def gone(self, participant):
        self.roster.pop(participant, None)
        pair = self.pairs.pop(participant, None)
        if pair is not None:
            self.emit("peer", id=participant, state="left")
            self.former_pairs[participant, pair.session] = pair
            pair.give_up()
            await pair.close()

    def failed(self, error):
        if not error["fatal"]:
            self.emit("error", code=error["code"], message=error["message"], retryable=error["retryable"])
            return
        code = error["code"]
        is_of_others = code == "replaced" and error.get("replacedBy") == "participant"
        if code in ("stale_epoch", "replaced") and self.session_token and not is_of_others and self.extra_rejoins:
            self.extra_rejoins -= 1
            self.must_rejoin = True
            raise Interrupted(str(Refused(error)))
        if code == "unauthorized" and self.session_token and self.extra_rejoins:
            self.extra_rejoins -= 1
            self.session_token = None
            raise Interrupted(str(Refused(error)))
        is_malformed = code == "malformed" and self.is_joined
        if not error["retryable"] and not is_malformed:
            raise Refused(error)
        self.must_rejoin = self.must_rejoin or is_malformed
        after = error.get("retryAfter")
        raise Interrupted(str(Refused(error)), random.uniform(after["earliest"], after["latest"]) if after else None)

    def start(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class Pair:
    """The connection to one other participant: the negotiation, the data channels, and what goes over them."""

    def __init__(self, room, participant):
        self.room = room
        self.peer, self.session = participant["id"], participant["session"]
        self.is_offerer = room.id.encode() < self.peer.encode()
        has = participant["capabilities"]
        self.has_delivery = "delivery.v1" in has
        self.has_exchange = self.has_delivery and "exchange.v1" in has
        self.exchange = Exchange(self)
        self.delivery = Delivery(self, self.message, self.exchange.take)
        self.bulk = Delivery(self, lambda *ignored: None, self.exchange.take_bulk)
        self.is_missing = False
        self.reset()

    def reset(self):
        self.signals = asyncio.Queue()
        self.stack = self.connection = None
        self.negotiation = 0
        self.early_connection, self.early = None, []
        self.has_remote = self.is_settled = False
        self.channels = {}
        self.state = "joined"
        self.worker = None

    def start(self):
        self.worker = self.room.start(self.work())
        if self.is_offerer:
            self.signals.put_nowait("build")

    def tell(self, state):
        if state != self.state:
            self.state = state
            self.room.emit("peer", id=self.peer, state=state)

    # Negotiation

    async def work(self):
        """Takes signals one after the other, so that no two steps of a negotiation overlap."""
        while True:
            signal = await self.signals.get()
            try:
                if signal == "build":
                    await self.build()
                elif signal == "renew":
                    if self.is_offerer and not self.is_settled:
                        await self.build()
                elif "description" in signal:
                    await self.described(signal)
                elif "candidate" in signal or "endOfCandidates" in signal:
                    # Also of a connection whose offer has not come yet; of these the latest counts.
                    if signal["connection"] != self.early_connection:
                        if signal["connection"] == self.connection or not self.is_offerer:
                            self.early_connection, self.early = signal["connection"], []
                    if signal["connection"] == self.early_connection:
                        self.early.append(signal.get("candidate"))
                    await self.take_candidates()
                elif self.is_offerer and self.is_justified(signal):
                    # aiortc has no ICE restart: a new connection is a new path too.
                    await self.build()
            except Exception as error:  # noqa: BLE001 A peer's description may be anything.
                self.room.emit("error", code="negotiation", message=f"{type(error).__name__}: {error}")
                await self.ask_rebuild("negotiation failed")

    def is_justified(self, request):
        """Whether a request of the answerer is about what is there now."""
        is_present = request["connection"] == self.connection
        if "rebuildRequest" in request:
            return is_present or request["negotiation"] == 0 and not self.is_offered
        return is_present and request["negotiation"] == self.negotiation and self.has_remote

    @property
    def is_offered(self):
        return self.connection is not None and not self.has_remote

    async def build(self):
        """Makes a new peer connection and offers it."""
        await self.open(secrets.token_hex(8))
        self.negotiation = 1
        if self.has_delivery:
            self.add("room.reliable", protocol="room.delivery.v1")
        else:
            self.add("room.plain")
        self.add("room.unordered", ordered=False)
        self.add("room.lossy", ordered=False, maxRetransmits=0)
        if self.has_exchange:
            self.add("room.bulk", protocol="room.delivery.v1")
            self.add("room.topics", ordered=False, maxRetransmits=0)
        await self.describe(await self.stack.createOffer())

    async def described(self, signal):
        description = signal["description"]
        if description["type"] == "offer":
            if self.is_offerer:
                return
            if signal["connection"] == self.connection:
                if signal["negotiation"] > self.negotiation:
                    # A new round of a connection that lives is an ICE restart, which aiortc does not have.
                    self.negotiation = signal["negotiation"]
                    await self.ask_rebuild("no ICE restart")
                return
            if signal["negotiation"] != 1:
                # A restart of a connection that is not here (any more).
                self.connection, self.negotiation = signal["connection"], signal["negotiation"]
                await self.ask_rebuild("unknown connection")
                return
            await self.open(signal["connection"])
            self.negotiation = signal["negotiation"]
            await self.stack.setRemoteDescription(RTCSessionDescription(description["sdp"], "offer"))
            await self.describe(await self.stack.createAnswer())
        elif signal["connection"] == self.connection and signal["negotiation"] == self.negotiation and self.is_offerer:
            if self.has_remote:
                return
            await self.stack.setRemoteDescription(RTCSessionDescription(description["sdp"], "answer"))
        else:
            return
        self.has_remote = True
        await self.take_candidates()

    async def describe(self, description):
        await self.stack.setLocalDescription(description)
        local = self.stack.localDescription
        await self.signal({"description": {"type": local.type, "sdp": local.sdp}})
        fragment = local.sdp.partition("a=ice-ufrag:")[2].split()[0]
        await self.signal({"endOfCandidates": {"usernameFragment": fragment}})

    async def take_candidates(self):
        while self.has_remote and self.early_connection == self.connection and self.early:
            candidate = self.early.pop(0)
            if candidate is None or not candidate["candidate"]:
                await self.stack.addIceCandidate(None)
                continue
            parsed = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
            parsed.sdpMid, parsed.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
            await self.stack.addIceCandidate(parsed)

    async def signal(self, body):
        await self.room.send({
            "type": "signal",
            "peer": self.peer,
            "session": self.session,
            "connection": self.connection or secrets.token_hex(8),
            "negotiation": self.negotiation,
            **body,
        })

    async def ask_restart(self):
        self.tell("recovering")
        if self.is_offerer:
            self.signals.put_nowait("build")
        else:
            await self.signal({"restartRequest": {"reason": "asked"}})

    async def ask_rebuild(self, reason):
        if self.room.pairs.get(self.peer) is not self:
            return
        self.tell("recovering")
        if self.is_offerer:
            self.signals.put_nowait("build")
        else:
            await self.signal({"rebuildRequest": {"reason": reason}})

    # The peer connection and its channels

    async def open(self, connection):
        await self.close_stack()
        servers = [
            RTCIceServer(server["urls"], server.get("username"), server.get("credential"))
            for server in self.room.ice_servers
        ]
        if self.early_connection != connection:
            self.early_connection, self.early = connection, []
        self.connection, self.has_remote, self.is_settled = connection, False, False
        self.channels = {}
        stack = self.stack = RTCPeerConnection(RTCConfiguration(servers))
        self.tell("recovering" if self.state == "recovering" else "connecting")

        @stack.on("datachannel")
        def opened(channel):
            if stack is self.stack:
                self.opened(channel)

        @stack.on("connectionstatechange")
        async def changed():
            if stack is self.stack and stack.connectionState in ("failed", "closed"):
                await self.ask_rebuild(stack.connectionState)

        self.room.start(self.expect_open(stack))

    async def expect_open(self, stack):
        await asyncio.sleep(CONNECT_SECONDS)
        if stack is self.stack and not self.is_settled:
            await self.ask_rebuild("it did not connect")

    def add(self, label, **options):
        channel = self.stack.createDataChannel(label, **options)
        channel.on("open", lambda: self.opened(channel))

    def opened(self, channel):
        label, stack = channel.label, self.stack
        self.channels[label] = channel
        channel.on("close", lambda: self.room.start(self.closed(stack, channel)))
        delivery = {"room.reliable": self.delivery, "room.bulk": self.bulk}.get(label)
        if delivery is not None:
            channel.on("message", lambda frame: self.guarded(delivery.take, channel, frame))
            delivery.attach(channel)
        elif label == "room.topics":
            channel.on("message", lambda message: self.exchange.take_lossy(message))
        else:
            kind = {"room.plain": "reliable", "room.unordered": "unordered", "room.lossy": "lossy"}.get(label, label)
            channel.on("message", lambda message: self.message(message, channel=kind))
        if label in ("room.reliable", "room.plain"):
            self.is_settled = True
            self.tell("connected")

    def guarded(self, take, channel, frame):
        try:
            take(channel, frame)
        except (ValueError, IndexError, struct.error) as error:
            self.room.emit("error", code="delivery", message=str(error))
            self.room.start(self.ask_rebuild(str(error)))

    async def closed(self, stack, channel):
        if stack is not self.stack or self.channels.get(channel.label) is not channel:
            return
        del self.channels[channel.label]
        if stack.connectionState != "connected":
            return
        if channel.label in ("room.reliable", "room.plain"):
            self.is_settled = False
            self.tell("recovering")
        wait = 0.0
        while self.is_offerer and stack is self.stack and channel.label not in self.channels and wait < 30:
            await asyncio.sleep(wait)
            if stack is not self.stack or channel.label in self.channels or stack.connectionState != "connected":
                return
            self.add(channel.label, protocol=channel.protocol, ordered=channel.ordered,
                     maxRetransmits=channel.maxRetransmits)
            await asyncio.sleep(REOPEN_SECONDS)
            wait = wait * 2 + 1
            if channel.label in ("room.reliable", "room.plain"):
                break
        if not self.is_offerer:
            await asyncio.sleep(REOPEN_SECONDS)
        if stack is self.stack and not self.is_settled:
            await self.ask_rebuild("the channel closed")

    async def close_stack(self):
        stack, self.stack = self.stack, None
        self.delivery.detach()
        self.bulk.detach()
        if stack is not None:
            await stack.close()

    async def close(self):
        if self.worker is not None:
            self.worker.cancel()
        await self.close_stack()

    # The other side left, and may come back in the same session

    def give_up(self):
        self.delivery.give_up()
        self.bulk.give_up()
        self.exchange.give_up()

    def meet_again(self):
        self.reset()
        self.exchange.restart()

    # Messages

    def send(self, payload, channel="reliable"):
        if channel != "reliable":
            self.channels[f"room.{channel}"].send(payload)
        elif self.has_delivery:
            is_text = isinstance(payload, str)
            self.delivery.send(Delivery.TEXT if is_text else Delivery.BINARY, payload.encode() if is_text else payload)
        else:
            self.channels["room.plain"].send(payload)

    def message(self, payload, channel="reliable"):
        self.room.emit("message", **{"from": self.peer}, channel=channel, payload=payload)


class Delivery:
    """Reliable delivery over one label, across all channels that ever have it."""

    RESUME, BINARY, TEXT, PART, ACK, HINT, EXCHANGE = range(1, 8)

    def __init__(self, pair, message, exchange):
        self.pair, self.message, self.exchange = pair, message, exchange
        self.last = self.received = self.written = self.told = 0
        self.unacknowledged = collections.deque()
        self.parts = bytearray()
        self.channel = None
        self.is_resumed = False
        self.acknowledger = self.watch = None

    def attach(self, channel):
        self.channel, self.is_resumed = channel, False
        # Parts of one message may come over several channels: numbers count, not channels.
        own, peer = self.pair.room.session.encode(), self.pair.session.encode()
        first = self.unacknowledged[0][0] if self.unacknowledged else self.last + 1
        channel.send(bytes([self.RESUME, 1, len(own)]) + own + bytes([len(peer)]) + peer
                     + struct.pack(">QQ", self.received, first))
        channel.bufferedAmountLowThreshold = WRITE_AHEAD // 2
        channel.on("bufferedamountlow", self.pump)

    def detach(self):
        self.channel, self.is_resumed = None, False
        self.watch_acknowledgements(is_new=True)

    def watch_acknowledgements(self, is_new):
        """Asks for a new connection when nothing is acknowledged for a while. `is_new`: something just was."""
        if self.watch is not None and (is_new or not self.unacknowledged):
            self.watch.cancel()
            self.watch = None
        if self.watch is None and self.is_resumed and self.unacknowledged:
            self.watch = asyncio.get_running_loop().call_later(
                ACKNOWLEDGE_SECONDS, lambda: self.pair.room.start(self.pair.ask_rebuild("not acknowledged")))

    def give_up(self):
        """Drops what was not acknowledged; the numbers stay, so that the next resume frame tells of the gap."""
        self.unacknowledged.clear()
        self.parts.clear()

    def send(self, kind, payload):
        view = memoryview(payload)
        for start in range(0, max(len(view), 1), PART):
            self.last += 1
            is_last = start + PART >= len(view)
            self.unacknowledged.append((self.last, kind if is_last else self.PART, bytes(view[start:start + PART])))
        self.pump()

    def pump(self):
        """Writes frames that were not written on this channel, as far as its buffer goes."""
        if not self.is_resumed or not self.unacknowledged or self.channel.readyState != "open":
            return
        index = self.written + 1 - self.unacknowledged[0][0]
        while 0 <= index < len(self.unacknowledged) and self.channel.bufferedAmount < WRITE_AHEAD:
            number, kind, payload = self.unacknowledged[index]
            self.channel.send(struct.pack(">BII", kind, number & 0xFFFFFFFF, self.received & 0xFFFFFFFF) + payload)
            self.told = self.received
            self.written = number
            index += 1
        self.watch_acknowledgements(is_new=False)

    def hint(self, hint):
        if self.is_resumed and self.channel.readyState == "open":
            self.channel.send(bytes([self.HINT, hint]))

    def take(self, channel, frame):
        if channel is not self.channel:
            return
        if isinstance(frame, str) or not frame:
            raise ValueError("a text message, or an empty one, on a delivery channel")
        kind = frame[0]
        if kind == self.RESUME:
            self.take_resume(frame)
        elif not self.is_resumed:
            raise ValueError("the first frame of a channel is no resume frame")
        elif kind in (self.BINARY, self.TEXT, self.PART, self.EXCHANGE):
            number, acknowledged = struct.unpack_from(">II", frame, 1)
            self.acknowledged(self.widen(acknowledged, self.last))
            self.take_data(kind, self.widen(number, self.received), frame[9:])
        elif kind == self.ACK:
            self.acknowledged(self.widen(struct.unpack_from(">I", frame, 1)[0], self.last))

    def take_resume(self, frame):
        if frame[1] != 1:
            raise ValueError("a resume frame of another version")
        own_end = 3 + frame[2]
        own = frame[3:own_end].decode()
        expected = frame[own_end + 1:own_end + 1 + frame[own_end]].decode()
        received, first = struct.unpack_from(">QQ", frame, own_end + 1 + frame[own_end])
        if own != self.pair.session or expected != self.pair.room.session:
            raise ValueError("a resume frame of another session")
        if first > self.received + 1:
            self.received = first - 1
            self.parts.clear()
        self.is_resumed = True
        self.acknowledged(received)
        self.written = received
        self.pump()

    def take_data(self, kind, number, payload):
        if number > self.received + 1:
            raise ValueError(f"frame {number} came after {self.received}")
        if number <= self.received:
            self.acknowledge_soon()
            return
        self.received = number
        self.acknowledge_soon()
        self.parts += payload
        if kind == self.PART:
            return
        whole, self.parts = bytes(self.parts), bytearray()
        if kind == self.EXCHANGE:
            self.exchange(whole)
        else:
            self.message(whole.decode() if kind == self.TEXT else whole)

    def acknowledged(self, number):
        if number > self.last:
            raise ValueError(f"frame {number} was acknowledged, and never sent")
        is_new = bool(self.unacknowledged) and self.unacknowledged[0][0] <= number
        while self.unacknowledged and self.unacknowledged[0][0] <= number:
            self.unacknowledged.popleft()
        self.written = max(self.written, number)
        self.watch_acknowledgements(is_new)

    def acknowledge_soon(self):
        if self.received - self.told >= 64:
            self.acknowledge_now()
        elif self.acknowledger is None:
            self.acknowledger = asyncio.get_running_loop().call_later(0.02, self.acknowledge_now)

    def acknowledge_now(self):
        if self.acknowledger is not None:
            self.acknowledger.cancel()
            self.acknowledger = None
        if self.is_resumed and self.channel.readyState == "open" and self.told != self.received:
            self.told = self.received
            self.channel.send(struct.pack(">BI", self.ACK, self.received & 0xFFFFFFFF))

    @staticmethod
    def widen(low, near):
        """The number with these lower 32 bits that is nearest to another."""
        number = (near & ~0xFFFFFFFF) | low
        if number > near + 0x80000000 and number > 0xFFFFFFFF:
            return number - (1 << 32)
        return number + (1 << 32) if number < near - 0x80000000 else number


class Exchange:
    """Topics, requests and streams with one other participant."""

    TOPIC, TOPIC_WINDOW, TOPIC_POSITION = 0x01, 0x02, 0x03
    REQUEST, ANSWER, FAILURE, CANCEL, REQUEST_RESTART = range(0x10, 0x15)
    OPEN, DATA, END, RESET, STREAM_WINDOW, STOP, FINISHED, RESTART = range(0x20, 0x28)

    def __init__(self, pair):
        self.pair = pair
        self.topics_out, self.topics_in = {}, {}
        self.requests, self.running = {}, {}
        self.next_request = self.next_stream = 1
        self.highest_request = self.highest_stream = 0
        self.streams_out, self.streams_in = {}, {}

    def send(self, message):
        self.pair.delivery.send(Delivery.EXCHANGE, message)

    def send_bulk(self, message):
        self.pair.bulk.send(Delivery.EXCHANGE, message)

    def give_up(self):
        for window in self.topics_out.values():
            window["waiting"].clear()
        for waiting in self.requests.values():
            waiting("failure", code="left", message="the other side has left")
        for stream in self.streams_out:
            self.pair.room.emit("stopped", to=self.pair.peer, stream=stream, code="left")
        for task in self.running.values():
            task.cancel()
        self.requests, self.running, self.streams_out, self.streams_in = {}, {}, {}, {}

    def restart(self):
        """Tells the other side, which has not given this one up, what has ended here."""
        for topic, window in self.topics_out.items():
            self.send(bytes([self.TOPIC_POSITION]) + name8(topic) + struct.pack(">Q", window["sent"]))
        for topic, window in self.topics_in.items():
            self.send(bytes([self.TOPIC_WINDOW]) + name8(topic) + struct.pack(">Q", window["limit"]))
        self.send(struct.pack(">BQQ", self.REQUEST_RESTART, self.next_request, self.highest_request))
        self.send_bulk(struct.pack(">BQQ", self.RESTART, self.next_stream, self.highest_stream))

    # Topics

    def publish(self, topic, body, is_lossy=False):
        message = bytes([self.TOPIC]) + flags(body) + name8(topic) + as_bytes(body)
        if is_lossy:
            channel = self.pair.channels.get("room.topics")
            if channel is not None and channel.readyState == "open":
                channel.send(message)
            return
        window = self.topics_out.setdefault(topic, {"sent": 0, "limit": WINDOW, "waiting": collections.deque()})
        window["waiting"].append((len(as_bytes(body)) + 64, message))
        self.pump_topic(topic, window)

    def pump_topic(self, topic, window):
        while window["waiting"] and window["sent"] < window["limit"]:
            cost, message = window["waiting"].popleft()
            window["sent"] += cost
            self.send(message)
        if not window["waiting"]:
            self.pair.room.emit("published", to=self.pair.peer, topic=topic, cost=window["sent"])

    def consumed(self, topic, cost):
        window = self.topics_in.setdefault(topic, {"consumed": 0, "limit": WINDOW})
        window["consumed"] += cost
        if window["limit"] - window["consumed"] <= WINDOW // 2:
            window["limit"] = window["consumed"] + WINDOW
            self.send(bytes([self.TOPIC_WINDOW]) + name8(topic) + struct.pack(">Q", window["limit"]))

    def take_lossy(self, message):
        self.ignoring_malformed(self.take_topic, message, True)

    def take_topic(self, message, is_lossy=False):
        if message[0] != self.TOPIC:
            return
        topic, rest = read_name8(message[2:])
        if topic in self.pair.room.subscriptions:
            self.pair.room.emit("topic", **{"from": self.pair.peer}, topic=topic, lossy=is_lossy,
                                payload=body(message[1], rest))
        if not is_lossy:
            self.consumed(topic, len(rest) + 64)

    # Messages on the reliable channel

    def take(self, message):
        self.ignoring_malformed(self.take_message, message)

    def take_bulk(self, message):
        self.ignoring_malformed(self.take_stream, message)

    @staticmethod
    def ignoring_malformed(take, *arguments):
        try:
            take(*arguments)
        except (struct.error, IndexError, UnicodeDecodeError):
            pass

    def take_message(self, message):
        kind, rest = message[0], message[1:]
        if kind == self.TOPIC:
            self.take_topic(message)
        elif kind == self.TOPIC_WINDOW:
            topic, rest = read_name8(rest)
            window = self.topics_out.get(topic)
            if window is not None:
                window["limit"] = max(window["limit"], struct.unpack(">Q", rest)[0])
                self.pump_topic(topic, window)
        elif kind == self.TOPIC_POSITION:
            topic, rest = read_name8(rest)
            sent = struct.unpack(">Q", rest)[0]
            window = self.topics_in.get(topic, {"consumed": 0, "limit": WINDOW})
            if window["consumed"] < sent < window["limit"] + (1 << 32):
                self.consumed(topic, sent - window["consumed"])
        elif kind == self.REQUEST_RESTART:
            self.requests_restarted(*struct.unpack(">QQ", rest))
        elif kind == self.REQUEST:
            number, timeout, flag = struct.unpack_from(">QIB", rest)
            method, content = read_name8(rest[13:])
            self.run_request(number, timeout, method, body(flag, content))
        elif kind in (self.ANSWER, self.FAILURE):
            waiting = self.requests.pop(struct.unpack_from(">Q", rest)[0], None)
            if waiting is not None and kind == self.ANSWER:
                waiting("answer", payload=body(rest[8], rest[9:]))
            elif waiting is not None:
                code, text = read_name8(rest[8:])
                waiting("failure", code=code, message=text[2:].decode())
        elif kind == self.CANCEL:
            task = self.running.pop(struct.unpack(">Q", rest)[0], None)
            if task is not None:
                task.cancel()
        elif kind in (self.STREAM_WINDOW, self.STOP, self.FINISHED):
            self.take_word_of_receiver(kind, *struct.unpack_from(">Q", rest), rest[8:])

    # Requests

    def request(self, method, content, timeout=0):
        number = self.next_request
        self.next_request += 1
        self.requests[number] = lambda event, **fields: self.pair.room.emit(
            event, **{"from": self.pair.peer}, request=number, **fields)
        self.send(struct.pack(">BQI", self.REQUEST, number, timeout) + flags(content) + name8(method)
                  + as_bytes(content))

    def requests_restarted(self, first, last):
        for number in [number for number in self.running if number < first]:
            self.running.pop(number).cancel()
        for number in [number for number in self.requests if number <= last]:
            self.requests.pop(number)("failure", code="left", message="the other side had given up")

    def run_request(self, number, timeout, method, content):
        self.highest_request = max(self.highest_request, number)
        if number in self.running:
            return
        if len(self.running) >= 64:
            self.fail(number, "busy", "64 requests are running")
        elif method != "echo":
            self.fail(number, "unknown_method", f"there is no method {method}")
        else:
            self.running[number] = self.pair.room.start(self.answer(number, timeout, content))

    async def answer(self, number, timeout, content):
        await asyncio.sleep(0)
        if self.running.pop(number, None) is not None:
            self.send(struct.pack(">BQ", self.ANSWER, number) + flags(content) + as_bytes(content))

    def fail(self, number, code, message):
        self.send(struct.pack(">BQ", self.FAILURE, number) + name8(code) + text16(message))

    # Streams

    def stream(self, name, content, metadata=None):
        """Sends bytes as a stream of known length; the stream's id."""
        number = self.next_stream
        self.next_stream += 1
        self.streams_out[number] = {"content": content, "sent": 0, "limit": WINDOW}
        entries = b"".join(name8(key) + text16(value) for key, value in (metadata or {}).items())
        self.send_bulk(struct.pack(">BQQ", self.OPEN, number, len(content)) + name8(name)
                       + bytes([len(metadata or {})]) + entries)
        self.pump_stream(number)
        return number

    def pump_stream(self, number):
        stream = self.streams_out.get(number)
        while stream is not None and stream["sent"] < min(len(stream["content"]), stream["limit"]):
            piece = stream["content"][stream["sent"]:stream["sent"] + PART - 32]
            stream["sent"] += len(piece)
            self.send_bulk(struct.pack(">BQ", self.DATA, number) + piece)
        if stream is not None and stream["sent"] == len(stream["content"]) and not stream.get("ended"):
            stream["ended"] = True
            self.send_bulk(struct.pack(">BQ", self.END, number))

    def take_word_of_receiver(self, kind, number, rest):
        stream = self.streams_out.get(number)
        if stream is None:
            return
        if kind == self.STREAM_WINDOW:
            stream["limit"] = max(stream["limit"], struct.unpack(">QQ", rest)[1])
            self.pump_stream(number)
            return
        del self.streams_out[number]
        if kind == self.FINISHED:
            self.pair.room.emit("finished", to=self.pair.peer, stream=number)
        else:
            code, text = read_name8(rest)
            self.pair.room.emit("stopped", to=self.pair.peer, stream=number, code=code, message=text[2:].decode())

    def take_stream(self, message):
        kind = message[0]
        number = struct.unpack_from(">Q", message, 1)[0]
        rest = message[9:]
        stream = self.streams_in.get(number)
        if kind == self.OPEN:
            if number <= self.highest_stream:
                return
            self.highest_stream = number
            length = struct.unpack_from(">Q", rest)[0]
            name, rest = read_name8(rest[8:])
            metadata, count, rest = {}, rest[0], rest[1:]
            for _ in range(count):
                key, rest = read_name8(rest)
                size = struct.unpack_from(">H", rest)[0]
                metadata[key], rest = rest[2:2 + size].decode(), rest[2 + size:]
            if len(self.streams_in) >= 64:
                self.stop(number, "busy", "64 streams are open")
                return
            self.streams_in[number] = {"name": name, "metadata": metadata, "length": length, "bytes": 0,
                                       "limit": WINDOW, "hash": hashlib.sha256()}
        elif kind == self.RESTART:
            last = struct.unpack_from(">Q", rest)[0]
            self.streams_in = {known: stream for known, stream in self.streams_in.items() if known >= number}
            for ended in [known for known in self.streams_out if known <= last]:
                del self.streams_out[ended]
                self.pair.room.emit("stopped", to=self.pair.peer, stream=ended, code="left")
        elif stream is None:
            return
        elif kind == self.DATA:
            stream["bytes"] += len(rest)
            if stream["bytes"] > stream["length"]:
                self.stop(number, "length_exceeded", "more bytes came than were announced")
                return
            stream["hash"].update(rest)
            if stream["limit"] - stream["bytes"] <= WINDOW // 2:
                stream["limit"] = stream["bytes"] + WINDOW
                self.send(struct.pack(">BQQQ", self.STREAM_WINDOW, number, stream["bytes"], stream["limit"]))
        elif kind == self.END:
            if stream["length"] not in (stream["bytes"], 2**64 - 1):
                self.stop(number, "incomplete", "fewer bytes came than were announced")
                return
            del self.streams_in[number]
            self.send(struct.pack(">BQ", self.FINISHED, number))
            self.pair.room.emit("stream", **{"from": self.pair.peer}, stream=number, name=stream["name"],
                                metadata=stream["metadata"], bytes=stream["bytes"],
                                sha256=stream["hash"].hexdigest())
        elif kind == self.RESET:
            del self.streams_in[number]
            self.pair.room.emit("stopped", **{"from": self.pair.peer}, stream=number, code=read_name8(rest)[0])

    def stop(self, number, code, message):
        self.streams_in.pop(number, None)
        self.send(struct.pack(">BQ", self.STOP, number) + name8(code) + text16(message))


def as_bytes(content):
    return content.encode() if isinstance(content, str) else content


def flags(content):
    return bytes([isinstance(content, str)])


def body(flag, content):
    return content.decode() if flag & 1 else content


def name8(text):
    return bytes([len(text.encode())]) + text.encode()


def text16(text):
    return struct.pack(">H", len(text.encode())) + text.encode()


def read_name8(data):
    end = 1 + data[0]
    if end > len(data):
        raise IndexError
    return data[1:end].decode(), data[end:]


# The program


class Program:
    def __init__(self, options):
        self.digest = options.digest
        self.room = Room(options.server, options.room, options.name, options.role, options.wait, self.emit)
        self.accepted = 0

    def emit(self, event, /, payload=None, **fields):
        if payload is not None:
            content = as_bytes(payload)
            if self.digest:
                fields |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            elif isinstance(payload, str):
                fields["text"] = payload
            else:
                fields["data"] = base64.b64encode(content).decode()
        print(json.dumps({"event": event, "t": time.monotonic(), **fields}), flush=True)

    async def commands(self):
        reader = asyncio.StreamReader(limit=1 << 25)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            try:
                await self.obey(command)
            except (KeyError, ValueError, OSError) as error:
                self.emit("error", code="command", message=f"{type(error).__name__}: {error}")

    async def obey(self, command):
        verb = command["do"]
        content = command["text"] if "text" in command else base64.b64decode(command.get("data", ""))
        pairs = [self.room.pairs[command["to"]]] if "to" in command else list(self.room.pairs.values())
        if verb == "leave":
            await self.room.leave()
        elif verb == "reconnect" and self.room.socket is not None:
            self.room.socket.transport.abort()
        elif verb == "update":
            await self.room.update(command["metadata"])
        elif verb == "attributes":
            await self.room.update_room(command["attributes"])
        elif verb == "kick":
            await self.room.send({"type": "kick", "participant": command["peer"], "reason": command["reason"]})
        elif verb == "end":
            await self.room.send({"type": "closeRoom", "reason": command["reason"]})
        elif verb == "subscribe":
            self.room.subscriptions.add(command["topic"])
        elif verb == "send":
            for pair in pairs:
                pair.send(content, command.get("channel", "reliable"))
            self.accepted += 1
            self.emit("sent", count=self.accepted)
        elif verb == "forget":
            # As after an absence that only this side found too long.
            participant = self.room.roster[command["peer"]]
            await self.room.gone(command["peer"])
            await self.room.present(participant)
        elif verb in ("restart", "rebuild"):
            pair = self.room.pairs[command["peer"]]
            await (pair.ask_restart() if verb == "restart" else pair.ask_rebuild("asked"))
        elif verb == "close":
            self.room.pairs[command["peer"]].delivery.channel.close()
        elif verb in ("publish", "lossy"):
            for pair in pairs:
                pair.exchange.publish(command["topic"], content, is_lossy=verb == "lossy")
        elif verb == "request":
            pairs[0].exchange.request(command["method"], content, command.get("timeout", 0))
        elif verb == "stream":
            pairs[0].exchange.stream(command["name"], content, command.get("metadata"))

    async def run(self):
        commands = asyncio.create_task(self.commands())
        try:
            await self.room.run()
        except Refused as refused:
            error = refused.error
            self.emit("error", code=error["code"], message=error["message"], retryable=False)
            return 3
        finally:
            commands.cancel()
            await asyncio.gather(*(pair.close() for pair in self.room.pairs.values()))
            self.emit("left")
        return 0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("room")
    arguments.add_argument("--server", required=True)
    arguments.add_argument("--name", required=True)
    arguments.add_argument("--role", default="guest", choices=["host", "guest", "first"])
    arguments.add_argument("--wait", action="store_true", help="wait for a room that does not exist")
    arguments.add_argument("--digest", action="store_true")
    try:
        sys.exit(asyncio.run(Program(arguments.parse_args()).run()))
    except (KeyboardInterrupt, BrokenPipeError):
        pass


if __name__ == "__main__":
    main()
