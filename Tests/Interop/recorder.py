"""A WebSocket proxy in front of a room server that records every message.

    recorder.py FILE

Standard input: `{"do":"target","url":…}` says where the server is now, `{"do":"cut"}` ends all connections without a
close frame. Standard output: `{"event":"listening","url":…}`. Each line of the file is
`{"from":"client"|"server","connection":1,"message":…}`. A message that is no JSON has `text` in place of `message`.
"""

import asyncio
import itertools
import json
import sys

import websockets

OPTIONS = {"compression": None, "ping_interval": None, "close_timeout": 1, "max_size": 1 << 21}


class Recorder:
    def __init__(self, file):
        self.file = file
        self.target = None
        self.sockets = set()
        self.numbers = itertools.count(1)

    async def serve(self, client):
        number = next(self.numbers)
        self.sockets.add(client)
        try:
            protocols = [client.subprotocol] if client.subprotocol else None
            connection = websockets.connect(self.target, subprotocols=protocols, proxy=None, **OPTIONS)
            async with connection as server:
                self.sockets.add(server)
                try:
                    await self.join(client, server, number)
                finally:
                    self.sockets.discard(server)
        except (OSError, TypeError, websockets.WebSocketException):
            client.transport.abort()
        finally:
            self.sockets.discard(client)

    async def join(self, client, server, number):
        """Copies both ways until one side closes, then closes the other one the same way."""
        ways = [
            asyncio.create_task(self.copy(client, server, "client", number)),
            asyncio.create_task(self.copy(server, client, "server", number)),
        ]
        done, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in others:
            way.cancel()
        closed, other = (client, server) if ways[0] in done else (server, client)
        code = closed.close_code
        if code is None or code == 1006:
            other.transport.abort()
        else:
            await other.close(1000 if code == 1005 else code, closed.close_reason or "")

    async def copy(self, source, destination, side, number):
        try:
            async for text in source:
                self.record(side, number, text)
                await destination.send(text)
        except websockets.ConnectionClosed:
            pass

    def record(self, side, number, text):
        line = {"from": side, "connection": number}
        try:
            line["message"] = json.loads(text)
        except ValueError:
            line["text"] = repr(text)
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    async def commands(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "target":
                self.target = command["url"]
            elif command["do"] == "cut":
                for socket in list(self.sockets):
                    socket.transport.abort()


def subprotocol(connection, offered):
    return "room.v1" if "room.v1" in offered else None


async def main():
    with open(sys.argv[1], "a") as file:
        recorder = Recorder(file)
        async with websockets.serve(
            recorder.serve, "127.0.0.1", 0, select_subprotocol=subprotocol, **OPTIONS
        ) as server:
            port = server.sockets[0].getsockname()[1]
            print(json.dumps({"event": "listening", "url": f"ws://127.0.0.1:{port}/"}), flush=True)
            await recorder.commands()


if __name__ == "__main__":
    asyncio.run(main())
