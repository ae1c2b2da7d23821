"""A foreign peer as a process: joins a room, connects to everybody in it, and echoes every message on the channel it
came on.

    peer.py aiortc|libdatachannel|libwebrtc|pion --server URL --room ROOM --name NAME [--host] [--no-echo]
            [--setup active|passive] [--timed] [--gathered]

Standard output: JSON Lines with the events of `room connect --json` as far as they make sense here (`joined`, `peer`,
`message`, `left`), and `received` (peer, channel, kind text | binary, bytes) for every message, `opened` (peer,
channel, id of the stream, client: whether it is the client of DTLS) for every channel, `negotiated` (peer) for every
round. Standard input: `{"do":"send","to":ID,"channel":LABEL,"text":…|"data":base64}`, `{"do":"leave"}`, and, each with
`peer`, `restart` and `path` (where the stack has ICE restarts), `close` (channel) and `negotiated` (id, text). With
--no-echo messages are told as `message` events and not echoed: so one foreign peer can stand in for ours. --setup is
the role in DTLS; --timed limits the lossy channel by time instead of retransmissions; --gathered keeps a stack that can
do both from trickling.
"""

import argparse
import asyncio
import base64
import json
import sys
import time

import room_client

LABELS = {"reliable": "room.plain", "unordered": "room.unordered", "lossy": "room.lossy"}
CHANNELS = {label: channel for channel, label in LABELS.items()}


class Peer:
    def __init__(self, engine, echo, setup=None, is_timed=False, is_gathered=False):
        self.engine = engine
        self.echo = echo
        self.setup = setup
        self.is_timed = is_timed
        self.is_gathered = is_gathered
        self.client = room_client.RoomClient(self)
        self.pairs = {}

    # Events of the room

    async def joined(self, message):
        emit("joined", self=message["participant"], host=message["host"])

    async def peer_joined(self, participant):
        emit("peer", id=participant["id"], name=participant["name"], state="joined")
        pair = room_client.Pair(self.client, participant["id"], lambda pair: self.engine(pair, self), self.setup)
        self.pairs[participant["id"]] = pair
        await pair.start()

    async def peer_left(self, peer):
        emit("peer", id=peer, state="left")
        pair = self.pairs.pop(peer, None)
        if pair is not None:
            await pair.close()

    async def signal(self, signal):
        pair = self.pairs.get(signal["peer"])
        if pair is not None:
            await pair.take(signal)

    # Events of the stack

    def negotiated(self, pair):
        emit("negotiated", peer=pair.peer, negotiation=pair.negotiation)

    def opened(self, pair, label, number):
        emit("opened", peer=pair.peer, channel=label, id=number, client=pair.is_dtls_client)
        if label == LABELS["reliable"]:
            emit("peer", id=pair.peer, state="connected")

    def received(self, pair, label, data, send):
        kind = "text" if isinstance(data, str) else "binary"
        size = len(data.encode()) if kind == "text" else len(data)
        emit("received", peer=pair.peer, channel=label, kind=kind, bytes=size)
        if self.echo:
            send(data)
        else:
            content = {"text": data} if kind == "text" else {"data": base64.b64encode(data).decode()}
            emit("message", **{"from": pair.peer}, channel=CHANNELS.get(label, label), **content)

    def failed(self, pair, message):
        emit("failed", peer=pair.peer, message=message)

    # Commands of the runner

    async def commands(self):
        reader = asyncio.StreamReader(limit=1 << 24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "leave":
                for pair in self.pairs.values():
                    await pair.close()
                await self.client.leave()
                return
            pair = self.pairs.get(command.get("peer"))
            if command["do"] == "restart":
                await pair.restart()
            elif command["do"] == "path":
                emit("path", peer=pair.peer, **await pair.connection.path())
            elif command["do"] == "close":
                pair.connection.close_channel(command["channel"])
            elif command["do"] == "negotiated":
                pair.connection.send_negotiated(command["id"], command["text"])
            elif command["do"] == "send":
                data = command["text"] if "text" in command else base64.b64decode(command["data"])
                targets = [command["to"]] if "to" in command else list(self.pairs)
                for target in targets:
                    self.pairs[target].connection.send(LABELS[command.get("channel", "reliable")], data)


def emit(event, **fields):
    print(json.dumps({"event": event, "t": time.monotonic(), **fields}), flush=True)


def engine(name):
    if name == "aiortc":
        from engine_aiortc import Connection
    elif name == "libwebrtc":
        from engine_libwebrtc import Connection
    elif name == "pion":
        from engine_pion import Connection
    else:
        from engine_libdatachannel import Connection
    return Connection


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("engine", choices=["aiortc", "libdatachannel", "libwebrtc", "pion"])
    arguments.add_argument("--server", required=True)
    arguments.add_argument("--room", required=True)
    arguments.add_argument("--name", required=True)
    arguments.add_argument("--host", action="store_true")
    arguments.add_argument("--no-echo", action="store_true")
    arguments.add_argument("--setup", choices=["active", "passive"])
    arguments.add_argument("--timed", action="store_true")
    arguments.add_argument("--gathered", action="store_true")
    options = arguments.parse_args()
    peer = Peer(engine(options.engine), not options.no_echo, options.setup, options.timed, options.gathered)
    commands = asyncio.create_task(peer.commands())
    try:
        role = "host" if options.host else "guest"
        await peer.client.run(options.server, options.room, options.name, role)
    finally:
        commands.cancel()
    emit("left")


if __name__ == "__main__":
    room_client.run(main())
