"""The connection of `room_client.Pair` on Pion: a program in Go, which `run` builds of pion/main.go and which this one
drives over its standard input and output. It trickles, or gathers before it describes itself, and restarts ICE."""

import asyncio
import json
import pathlib
import subprocess
import threading

from engine import Engine

PROGRAM = pathlib.Path(__file__).parents[2] / ".build/interop-pion/src/peer/peer"


class Connection(Engine):
    can_restart = True

    def __init__(self, pair, peer):
        super().__init__(pair, peer)
        self.loop = asyncio.get_running_loop()
        self.answers = {}
        self.is_closed = False
        self.trouble = self.failure = None
        options = (["-setup", pair.setup] if pair.setup else []) + ["-gathered"] * peer.is_gathered
        self.program = subprocess.Popen([PROGRAM, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # The program is always read, so writing to it never waits for long.
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    async def offer(self, restart=False):
        limit = {"maxPacketLifeTime": 1000} if self.peer.is_timed else {"maxRetransmits": 0}
        channels = [
            {"label": "room.plain"},
            {"label": "room.unordered", "ordered": False},
            {"label": "room.lossy", "ordered": False, **limit},
        ]
        told = await self._ask("description", do="offer", restart=restart, channels=[] if restart else channels)
        return told["sdp"]

    async def answer(self, sdp):
        return (await self._ask("description", do="answer", sdp=sdp))["sdp"]

    async def accept(self, sdp):
        self._command(do="accept", sdp=sdp)

    async def add_candidate(self, candidate):
        self._command(do="candidate", candidate=candidate)

    async def path(self):
        """The addresses of both ends of the pair of candidates that carries the data."""
        told = await self._ask("path", do="path")
        return {"local": told["local"], "remote": told["remote"]}

    def send(self, label, data):
        kind, content = ("text", data.encode()) if isinstance(data, str) else ("binary", data)
        self._command(content, do="send", channel=label, kind=kind)

    def close_channel(self, label):
        self._command(do="close", channel=label)

    def send_negotiated(self, number, text):
        """Opens a channel that the other side does not have, and sends on it."""
        self._command(do="negotiated", id=number, text=text)

    async def close(self):
        self.is_closed = True
        self._command(do="end")
        await self.loop.run_in_executor(None, self._end)

    def _end(self):
        try:
            self.program.wait(5)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()
        self.reader.join()

    def _command(self, content=b"", **fields):
        try:
            self.program.stdin.write(json.dumps(fields | {"size": len(content)}).encode() + b"\n" + content)
            self.program.stdin.flush()
        except BrokenPipeError:
            pass  # `_ended` tells it.

    async def _ask(self, event, **fields):
        if self.failure:
            raise self.failure
        answer = self.answers[event] = self.loop.create_future()
        self._command(**fields)
        return await answer

    def _read(self):
        try:
            # The last line of a program that dies may be cut off.
            while (line := self.program.stdout.readline()).endswith(b"\n"):
                told = json.loads(line)
                content = self.program.stdout.read(told.get("size", 0))
                self.loop.call_soon_threadsafe(self._take, told, content)
            self.loop.call_soon_threadsafe(self._ended)
        except RuntimeError:  # The loop is closed.
            pass

    def _ended(self):
        """The program is gone; if nobody has closed it, nothing it was asked for will come."""
        if self.is_closed:
            return
        reason = f"; it said before: {self.trouble}" if self.trouble else ""
        self.failure = ConnectionError(f"the program on Pion has ended{reason}")
        for answer in self.answers.values():
            if not answer.done():
                answer.set_exception(self.failure)
        self.peer.failed(self.pair, str(self.failure))

    def _take(self, told, content):
        event = told["event"]
        if event == "opened":
            self.peer.opened(self.pair, told["channel"], told["id"])
        elif event == "message":
            data = content.decode() if told["kind"] == "text" else content
            label = told["channel"]
            self.peer.received(self.pair, label, data, lambda data: self.send(label, data))
        elif event == "candidate":
            asyncio.ensure_future(self.pair.send_candidate(told["candidate"], told["sdpMid"]))
        elif event == "failed":
            self.trouble = told["message"]
            self.peer.failed(self.pair, self.trouble)
        elif not self.answers[event].done():
            self.answers[event].set_result(told)
