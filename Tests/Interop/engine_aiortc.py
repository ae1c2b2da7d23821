"""The connection of `room_client.Pair` on aiortc. It gathers before it describes itself (no trickle of its own), takes
trickled candidates, and knows no ICE restart."""

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from engine import Engine

unordered = {"ordered": False}
lossy = {"ordered": False, "maxRetransmits": 0}
timed = {"ordered": False, "maxPacketLifeTime": 1000}


class Connection(Engine):
    def __init__(self, pair, peer):
        super().__init__(pair, peer)
        self.stack = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.stack.on("datachannel", self._add)

    async def offer(self):
        third = timed if self.peer.is_timed else lossy
        for label, options in {"room.plain": {}, "room.unordered": unordered, "room.lossy": third}.items():
            self._add(self.stack.createDataChannel(label, **options), is_open=False)
        await self.stack.setLocalDescription(await self.stack.createOffer())
        return self.stack.localDescription.sdp

    async def answer(self, sdp):
        await self.stack.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        if self.pair.setup:
            # It has no public way to choose.
            self.stack.sctp.transport._set_role("client" if self.pair.setup == "active" else "server")
        await self.stack.setLocalDescription(await self.stack.createAnswer())
        return self.stack.localDescription.sdp

    async def accept(self, sdp):
        await self.stack.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))

    async def add_candidate(self, candidate):
        if candidate is None:
            await self.stack.addIceCandidate(None)
            return
        parsed = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
        parsed.sdpMid = candidate.get("sdpMid")
        parsed.sdpMLineIndex = candidate.get("sdpMLineIndex")
        await self.stack.addIceCandidate(parsed)

    def send(self, label, data):
        self.channels[label].send(data)

    def close_channel(self, label):
        self.channels[label].close()

    def send_negotiated(self, number, text):
        """Opens a channel that the other side does not have, and sends on it."""
        self.stack.createDataChannel("negotiated", negotiated=True, id=number).send(text)

    async def close(self):
        await self.stack.close()

    def _add(self, channel, is_open=True):
        self.channels[channel.label] = channel
        channel.on("message", lambda data: self.peer.received(self.pair, channel.label, data, channel.send))
        if is_open:
            self.peer.opened(self.pair, channel.label, channel.id)
        else:
            channel.on("open", lambda: self.peer.opened(self.pair, channel.label, channel.id))
