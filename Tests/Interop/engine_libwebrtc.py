"""The connection of `room_client.Pair` on libwebrtc (through the package wrtc). It trickles and restarts ICE, as a
browser does."""

import asyncio

from webrtc import (
    RTCDataChannelInit,
    RTCIceCandidateInit,
    RTCOfferOptions,
    RTCPeerConnection,
    RTCSessionDescriptionInit,
)

from engine import Engine


class Connection(Engine):
    can_restart = True

    def __init__(self, pair, peer):
        super().__init__(pair, peer)
        self.stack = RTCPeerConnection()
        self.stack.on("icecandidate", self._found)
        self.stack.on("datachannel", lambda event: self._add(event.channel))

    async def offer(self, restart=False):
        if not restart:
            self._open("room.plain")
            self._open("room.unordered", ordered=False)
            limit = {"max_packet_life_time": 1000} if self.peer.is_timed else {"max_retransmits": 0}
            self._open("room.lossy", ordered=False, **limit)
        offer = await self.stack.create_offer(RTCOfferOptions(ice_restart=restart))
        await self.stack.set_local_description(offer)
        return offer.sdp

    async def answer(self, sdp):
        await self.stack.set_remote_description(RTCSessionDescriptionInit("offer", sdp))
        answer = await self.stack.create_answer()
        if self.pair.setup:
            changed = answer.sdp.replace("a=setup:active", f"a=setup:{self.pair.setup}")
            answer = RTCSessionDescriptionInit("answer", changed)
        await self.stack.set_local_description(answer)
        return answer.sdp

    async def accept(self, sdp):
        await self.stack.set_remote_description(RTCSessionDescriptionInit("answer", sdp))

    async def add_candidate(self, candidate):
        if candidate is None:
            await self.stack.add_ice_candidate(None)
            return
        await self.stack.add_ice_candidate(
            RTCIceCandidateInit(
                candidate["candidate"],
                candidate.get("sdpMid"),
                candidate.get("sdpMLineIndex"),
                candidate.get("usernameFragment"),
            )
        )

    async def path(self):
        """The generation (RFC 8838 §4) and the address of both ends of the pair of candidates that carries the data."""
        stats = await self.stack.get_stats()
        transport = next(entry for entry in stats.values() if entry.type == "transport")
        pair = stats[transport.selected_candidate_pair_id]

        def name(candidate):
            return f"{candidate.username_fragment} {candidate.address}:{candidate.port}"

        pairs = [
            f"{name(stats[entry.local_candidate_id])} {name(stats[entry.remote_candidate_id])} {entry.state}"
            f" nominated {entry.nominated} requests {entry.requests_received} packets {entry.packets_sent}"
            for entry in stats.values()
            if entry.type == "candidate-pair" and {entry.local_candidate_id, entry.remote_candidate_id} <= stats.keys()
        ]
        ends = {"local": name(stats[pair.local_candidate_id]), "remote": name(stats[pair.remote_candidate_id])}
        return {"pairs": pairs, **ends}

    def send(self, label, data):
        self.channels[label].send(data)

    def close_channel(self, label):
        self.channels[label].close()

    def send_negotiated(self, number, text):
        """Opens a channel that the other side does not have, and sends on it."""
        channel = self.stack.create_data_channel("negotiated", RTCDataChannelInit(negotiated=True, id=number))
        channel.on("open", lambda event: channel.send(text))

    async def close(self):
        self.stack.close()

    def _found(self, event):
        candidate = event.candidate
        if candidate is not None and candidate.candidate:
            asyncio.ensure_future(self.pair.send_candidate(candidate.candidate, candidate.sdp_mid))

    def _open(self, label, **options):
        channel = self.stack.create_data_channel(label, RTCDataChannelInit(**options))
        self._add(channel, is_open=False)

    def _add(self, channel, is_open=True):
        self.channels[channel.label] = channel
        channel.binary_type = "arraybuffer"
        channel.on("message", lambda event: self.peer.received(self.pair, channel.label, event.data, channel.send))
        if is_open:
            self.peer.opened(self.pair, channel.label, channel.id)
        else:
            channel.on("open", lambda event: self.peer.opened(self.pair, channel.label, channel.id))
