"""The connection of `room_client.Pair` on libdatachannel (through pylibdatachannel). Its callbacks come on threads of
its own and are posted to the event loop. It trickles, and knows no ICE restart."""

import asyncio

from pylibdatachannel import Candidate, Description, DescriptionType, PeerConnection

from engine import Engine


class Connection(Engine):
    def __init__(self, pair, peer):
        super().__init__(pair, peer)
        self.loop = asyncio.get_running_loop()
        self.described = self.loop.create_future()
        self.stack = PeerConnection()
        self.stack.on_local_description(lambda description: self._post(self._describe, description.description))
        self.stack.on_local_candidate(lambda candidate: self._post(self._found, candidate.candidate, candidate.mid))
        self.stack.on_data_channel(lambda channel: self._add(channel, is_open=True))

    async def offer(self):
        # The binding can't open other than reliable, ordered channels; the other side goes by the labels.
        for label in ("room.plain", "room.unordered", "room.lossy"):
            self._add(self.stack.create_data_channel(label), is_open=False)
        return await self.described

    async def answer(self, sdp):
        self.stack.set_remote_description(Description(sdp, DescriptionType.OFFER))
        return await self.described

    async def accept(self, sdp):
        self.stack.set_remote_description(Description(sdp, DescriptionType.ANSWER))

    async def add_candidate(self, candidate):
        if candidate is not None:
            self.stack.add_remote_candidate(Candidate(candidate["candidate"], candidate.get("sdpMid") or "0"))

    def send(self, label, data):
        self.channels[label].send(data)

    def close_channel(self, label):
        self.channels[label].close()

    async def close(self):
        # Joins the library's threads, which may be waiting for the interpreter.
        await self.loop.run_in_executor(None, self.stack.close)

    def _post(self, call, *arguments):
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *arguments)

    def _describe(self, sdp):
        if not self.described.done():
            self.described.set_result(sdp)

    def _found(self, candidate, mid):
        asyncio.ensure_future(self.pair.send_candidate(candidate, mid))

    def _add(self, channel, is_open):
        label = channel.label
        self.channels[label] = channel
        channel.on_message(lambda data: self._post(self.peer.received, self.pair, label, data, channel.send))
        if is_open:
            self._post(self.peer.opened, self.pair, label, None)
        else:
            channel.on_open(lambda: self._post(self.peer.opened, self.pair, label, None))
