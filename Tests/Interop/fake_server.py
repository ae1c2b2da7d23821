"""A model of the room server in a few lines, for the foreign peers among themselves: no resume, no limits, no tokens.

Prints `{"event":"listening","url":…}`, ends with SIGTERM.
"""

import asyncio
import json
import secrets

import websockets

rooms = {}


class Member:
    def __init__(self, socket, hello):
        self.socket = socket
        self.sent = 0
        self.entry = {
            "id": secrets.token_hex(8),
            "session": secrets.token_hex(8),
            "epoch": 1,
            "name": hello["name"],
            "host": hello["role"] == "host",
            "metadata": hello["metadata"],
            "capabilities": hello["capabilities"],
        }

    async def tell(self, message):
        self.sent += 1
        await self.socket.send(json.dumps({"seq": self.sent, **message}))


async def serve(socket):
    hello = json.loads(await socket.recv())
    room = rooms.setdefault(hello["room"], {})
    member = Member(socket, hello)
    await socket.send(
        json.dumps(
            {
                "type": "joined",
                "version": 1,
                "participant": member.entry["id"],
                "session": member.entry["session"],
                "host": member.entry["host"],
                "roster": [other.entry for other in room.values()],
            }
        )
    )
    others = list(room.values())
    room[member.entry["id"]] = member
    for other in others:
        await other.tell({"type": "peerJoined", "participant": member.entry})
    try:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "leave":
                break
            receiver = room.get(message.get("peer"))
            if message["type"] == "signal" and receiver and receiver.entry["session"] == message["session"]:
                sender = {"peer": member.entry["id"], "session": member.entry["session"]}
                await receiver.tell({**message, **sender, "seq": receiver.sent + 1})
    except websockets.ConnectionClosedError:
        pass
    finally:
        del room[member.entry["id"]]
        for other in list(room.values()):
            await other.tell({"type": "peerLeft", "participant": member.entry["id"], "reason": "left"})


async def main():
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=1 << 20) as server:
        port = server.sockets[0].getsockname()[1]
        print(json.dumps({"event": "listening", "url": f"ws://127.0.0.1:{port}/"}), flush=True)
        await server.serve_forever()


asyncio.run(main())
