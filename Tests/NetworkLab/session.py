"""One room in one network: peers that all send numbered messages to everybody, an outage, and the fate of the
messages."""

import dataclasses
import json
import threading
import time

from network import LabError, Network
from processes import Forwarder, Peer, RoomServer, TurnServer, make_folder

INTERVAL = 0.05
HEALING_LIMIT = 60.0
# The time after the recovery: late restarts and rebuilds happen within it, and must lose nothing either.
SETTLING = 3.0
# When the harness itself stalls for longer than this, the figures of the run are useless, and it is repeated.
STALL = 0.15


@dataclasses.dataclass
class Moments:
    """The start and end of an outage (CLOCK_MONOTONIC), and the affected peers."""

    begin: float
    end: float
    # Indices of the peers (from 1) whose paths were affected.
    hit: tuple = ()
    # The path was replaced rather than interrupted: only messages sent after the change count.
    is_change: bool = False
    # The source of the row's figure: the paths of the affected peers, the signaling of all peers, or both.
    measures: tuple = ("path",)


class Traffic:
    """Every peer sends to everybody every 50 ms; its n-th message is the text n."""

    def __init__(self, peers):
        self.peers = peers
        self.sent_at = {peer: [] for peer in peers}
        self.ticks = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        due = time.monotonic()
        while not self._stop.wait(max(0, due - time.monotonic())):
            self.ticks.append(time.monotonic())
            for peer in self.peers:
                at = time.monotonic()
                if peer.send(len(self.sent_at[peer]) + 1):
                    self.sent_at[peer].append(at)
            due = max(due + INTERVAL, time.monotonic() - INTERVAL)

    def stop(self):
        self._stop.set()
        self._thread.join()

    def largest_stall(self, since):
        gaps = [later - earlier for earlier, later in zip(self.ticks, self.ticks[1:]) if later >= since]
        return max(gaps, default=0.0)


class Stage:
    """A network with a room server and a TURN server, and the processes that are at its sites."""

    def __init__(self, tools, folder, kinds, forwarders=()):
        self.folder = make_folder(folder)
        self.forwarders, self._kept = {}, []
        self.turn = self.server = None
        self.network = Network(kinds, forwarders)
        try:
            self.turn = TurnServer(self.network, self.folder)
            self.turn.start()
            self.server = RoomServer(self.network, tools.room, self.folder)
            self.server.start()
            for index in forwarders:
                self.forwarders[index] = Forwarder(tools.forwarder, self.network.sites[index - 1], self.folder)
        except BaseException:
            Stage.close(self)
            raise

    def keep(self, child):
        """The process ends with the stage."""
        self._kept.append(child)
        return child

    def site(self, index):
        return self.network.sites[index - 1]

    def close(self):
        for child in self._kept:
            child.signal(18)
            child.signal(15)
        for part in [*self._kept, *self.forwarders.values(), self.server, self.turn]:
            if part:
                part.stop()
        self.network.remove()


class Session(Stage):
    def __init__(self, tools, folder, kinds=("port-restricted",) * 3, policy="all", forwarders=(), before=None):
        self.peers, self.traffic = [], None
        super().__init__(tools, folder, kinds, forwarders)
        try:
            if before:
                before(self)
            for site in self.network.sites:
                peer = self.keep(
                    Peer(f"peer{site.index}", site, tools.room, self.folder, host=not self.peers, policy=policy))
                self.peers.append(peer)
                peer.wait_event("joined")
            for peer in self.peers:
                peer.wait("connection to everybody", lambda p: len(p.connected()) == len(self.peers) - 1, 30)
        except BaseException:
            self.close()
            raise

    def peer(self, index):
        return self.peers[index - 1]

    def start_traffic(self):
        self.traffic = Traffic(self.peers)
        for peer in self.peers:
            peer.wait("messages from everybody", lambda p: len(p.received) == len(self.peers) - 1)
        time.sleep(1)

    # Facts

    def pairs(self):
        """Directed: (sender, receiver)."""
        return [(sender, receiver) for sender in self.peers for receiver in self.peers if sender is not receiver]

    def is_hit(self, pair, moments):
        return any(peer.site.index in moments.hit for peer in pair)

    def first_message(self, pair, moments):
        """Seconds from the end of the outage to the pair's first message, or None."""
        sender, receiver = pair
        sent_at = self.traffic.sent_at[sender]
        for at, number in reversed_from(receiver.received.get(sender.id, []), moments.end):
            if not moments.is_change or number <= len(sent_at) and sent_at[number - 1] >= moments.end:
                return at - moments.end
        return None

    def signaling_whole(self, peer, moments):
        """Seconds from the end of the outage until the peer's room was complete again; 0 if it always was; None: not
        yet."""
        statuses = [event for event in peer.signaling() if event["t"] >= moments.begin]
        if not statuses:
            return 0.0
        if statuses[-1]["status"] != "connected":
            return None
        lost = [event["t"] for event in statuses if event["status"] != "connected"]
        joined = [event["t"] for event in peer.events
                  if event.get("event") == "joined" and lost and event["t"] > lost[0]]
        if lost and not joined:
            return None
        return max(0.0, joined[-1] - moments.end) if joined else 0.0

    def noticed(self, peer, moments):
        lost = [event["t"] for event in peer.signaling()
                if event["t"] >= moments.begin and event["status"] != "connected"]
        return lost[0] - moments.begin if lost else None

    # Measuring

    def measure(self, outage):
        """Runs an outage and returns the facts about it as a dictionary."""
        self.start_traffic()
        counts = {peer: len(peer.events) for peer in self.peers}
        paths = sorted({str(path) for peer in self.peers for path in peer.paths().values()})
        moments = outage(self)
        self._wait_until_healed(moments)
        time.sleep(SETTLING)
        self.traffic.stop()
        self.wait_until_delivered()
        result = self._facts(moments, counts)
        result["paths"] = paths
        self._write_events(result, counts)
        return result

    def _wait_until_healed(self, moments):
        deadline = max(moments.end, time.monotonic()) + HEALING_LIMIT
        while time.monotonic() < deadline:
            paths = all(self.first_message(pair, moments) is not None for pair in self.pairs())
            if paths and all(self.signaling_whole(peer, moments) is not None for peer in self.peers):
                return
            time.sleep(0.05)

    def wait_until_delivered(self, seconds=20.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(
                len(receiver.received.get(sender.id, [])) >= len(self.traffic.sent_at[sender])
                for sender, receiver in self.pairs()
            ):
                # Duplicates would arrive now.
                time.sleep(0.3)
                return
            time.sleep(0.05)

    def _facts(self, moments, counts):
        result = {**self.delivery(), "paths_whole": True}
        hit = [pair for pair in self.pairs() if self.is_hit(pair, moments)]
        healthy = [pair for pair in self.pairs() if not self.is_hit(pair, moments)]
        firsts = [self.first_message(pair, moments) for pair in hit]
        wholes = [self.signaling_whole(peer, moments) for peer in self.peers]
        notices = [notice for peer in self.peers if (notice := self.noticed(peer, moments)) is not None]
        result["path"] = worst(firsts)
        result["signaling"] = worst(wholes)
        result["noticed"] = max(notices, default=None)
        figures = [result[name] for name in moments.measures]
        result["seconds"] = worst(figures)
        result["healthy_gap"] = max((self.largest_gap(pair, moments.begin) for pair in healthy), default=None)
        result["outage_gap"] = max((self.largest_gap(pair, moments.begin) for pair in hit), default=None)
        result["stall"] = self.traffic.largest_stall(moments.begin - 1)
        result["duration"] = moments.end - moments.begin
        result["unwritten"] = max(len(self.traffic.ticks) - len(sent) for sent in self.traffic.sent_at.values())
        for peer in self.peers:
            if len(peer.connected()) != len(self.peers) - 1 or len(peer.peer_states()) != len(self.peers) - 1:
                result["paths_whole"] = False
        news = [event for peer in self.peers for event in peer.events[counts[peer]:]]
        result["undelivered"] = sum(event["count"] for event in news if event.get("event") == "undelivered")
        result["left"] = sum(event.get("state") == "left" for event in news)
        steps = [step for event in news if event.get("event") == "incident" for step in event["steps"]]
        result["restarts"] = sum(step["step"] == "restartRequested" for step in steps)
        result["rebuilds"] = sum(step["step"] == "rebuildRequested" for step in steps)
        result["begin"], result["end"] = moments.begin, moments.end
        return result

    def delivery(self):
        """The numbers of lost, duplicated and reordered messages over all pairs."""
        lost = doubled = disordered = 0
        for sender, receiver in self.pairs():
            numbers = [number for _, number in receiver.received.get(sender.id, [])]
            lost += len(set(range(1, len(self.traffic.sent_at[sender]) + 1)) - set(numbers))
            doubled += len(numbers) - len(set(numbers))
            disordered += sum(later < earlier for earlier, later in zip(numbers, numbers[1:]))
        return {"lost": lost, "doubled": doubled, "disordered": disordered}

    def largest_gap(self, pair, since):
        """The longest time between two messages, minus the harness's own delay in sending them."""
        sender, receiver = pair
        sent_at = self.traffic.sent_at[sender]
        arrived = [(at, number) for at, number in receiver.received.get(sender.id, []) if at >= since - 1]
        largest = 0.0
        for (earlier, first), (later, second) in zip(arrived, arrived[1:]):
            late = sent_at[second - 1] - sent_at[first - 1] - INTERVAL if first < second <= len(sent_at) else 0.0
            largest = max(largest, later - earlier - max(0.0, late))
        return largest

    def _write_events(self, result, counts):
        """Writes the events for debugging, with times relative to the end of the outage."""
        end = result["end"]
        with open(self.folder / "events.jsonl", "w") as file:
            file.write(json.dumps({"result": result}) + "\n")
            events = [(event["t"], peer.name, event) for peer in self.peers for event in peer.events[counts[peer]:]]
            for at, name, event in sorted(events, key=lambda entry: entry[0]):
                shown = {key: value for key, value in event.items() if key not in ("t", "steps")}
                file.write(json.dumps({"at": round(at - end, 3), "peer": name, **shown}) + "\n")
                for step in event.get("steps", []):
                    file.write(f"        {step['at'] - end:8.3f} {step['step']} {step.get('cause', '')}\n")

    def close(self):
        if self.traffic:
            self.traffic.stop()
        super().close()


def worst(values):
    """The largest value, or None when one is missing: that event has not happened."""
    values = list(values)
    return None if not values or any(value is None for value in values) else max(values)


def reversed_from(received, moment):
    """The entries from `moment` on, in order. Searches from the end: the list is long and the moment is recent."""
    index = len(received)
    while index > 0 and received[index - 1][0] >= moment:
        index -= 1
    return received[index:]


def undisturbed(name, repeat, allowance, measure, disturbance, describe, say):
    """The results of `repeat` measurements. One for which `disturbance` gives a reason is made again, `allowance` times
    at most."""
    runs, disturbed = [], 0
    while len(runs) < repeat:
        run = measure(len(runs) + 1)
        reason = disturbance(run)
        if reason and disturbed < allowance:
            disturbed += 1
            say(f"… {name}: {reason}: once more")
            continue
        runs.append(run)
        say(f"… {name} {len(runs)}/{repeat}: {describe(run)}")
    return runs


__all__ = ["LabError", "Moments", "Session", "Stage", "undisturbed"]
