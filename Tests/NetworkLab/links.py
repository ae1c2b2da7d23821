"""The rows with a bad link: delay, loss, or a queue that is too long. There is no outage, and nothing may be
restarted."""

import contextlib
import fnmatch
import statistics
import threading
import time

from network import PORT, SERVER, LabError
from processes import Child, Peer
from session import Session, undisturbed

PAIR = ("port-restricted",) * 2
OPEN_PAIR = ("none",) * 2
ROUND_TRIP = 0.05
# Milliseconds.
LATE = 10
QUEUE = 100

NAMES = {
    "setup-25": "set-up with 25 ms each way, both behind NATs",
    "setup-25-open": "set-up with 25 ms each way, no NATs",
    "throughput-25-16": "throughput with 25 ms each way, messages of 16 KiB",
    "throughput-25-64": "throughput with 25 ms each way, messages of 64 KiB",
    "beside-stream": "messages of 64 B beside a stream at full speed, 20 Mbit/s, 25 ms each way, 100 ms of queue",
    "loss-1": "1 % loss, 25 ms each way, 20 s: restarts",
    "loss-1-bulk": "1 % loss, 25 ms each way, bulk data beside, 20 s: restarts",
    "bufferbloat-300": "300 ms of queue filled by bulk data, 20 Mbit/s, 20 s: restarts",
    "reordering": "5 % reordered, 2 % doubled, 10 ms each way, 20 s: restarts",
}


def chosen(patterns, short):
    if patterns:
        return [name for name in NAMES
                if any(fnmatch.fnmatch(name, pattern) or pattern == "link" for pattern in patterns.split(","))]
    return [] if short else list(NAMES)


def measure(name, tools, repeat, say):
    """Repeats a run in which the forwarder itself was late, at most three times in all."""
    def disturbance(run):
        if run.get("late_ms", 0) > LATE:
            return f"the forwarder was late by {run['late_ms']:.0f} ms"

    return summarize(name, undisturbed(
        name, repeat, 3, lambda number: measure_once(name, tools, tools.folder / name / str(number)), disturbance,
        describe, say))


def measure_once(name, tools, folder):
    try:
        if name.startswith("setup"):
            return setup(tools, folder, OPEN_PAIR if name.endswith("open") else PAIR)
        if name.startswith("throughput"):
            return throughput(tools, folder, int(name.rsplit("-", 1)[1]) * 1024)
        if name == "beside-stream":
            return beside_stream(tools, folder)
        return quiet(tools, folder, name)
    except LabError as error:
        return {"error": str(error)}


def describe(run):
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in run.items())


def summarize(name, runs):
    result = {"name": name, "title": NAMES[name], "runs": runs, "asked": "–", "measured": "–"}
    result["faults"] = [f"error: {run['error']}" for run in runs if "error" in run]
    good = [run for run in runs if "error" not in run]
    if not good:
        return result
    if name.startswith("setup"):
        values = [run["round_trips"] for run in good]
        result["asked"] = "≤ 4.5 round trips"
        both = statistics.median(run["both_round_trips"] for run in good)
        milliseconds = statistics.median(run["seconds"] for run in good) * 1000
        result["measured"] = (f"{statistics.median(values):.1f} round trips ({max(values):.1f}), "
                              f"{milliseconds:.0f} ms; both sides {both:.1f}")
        if statistics.median(values) > 4.5:
            result["faults"].append("slower than asked")
    elif name.startswith("throughput"):
        values = [run["MB_s"] for run in good]
        result["asked"] = "≥ 15 MB/s"
        result["measured"] = f"{statistics.median(values):.1f} MB/s ({min(values):.1f} to {max(values):.1f})"
        if statistics.median(values) < 15:
            result["faults"].append("slower than asked")
    elif name == "beside-stream":
        added = [run["added_p99_ms"] for run in good]
        result["asked"] = f"p99 of what is added ≤ {QUEUE} ms, the link's own queue"
        result["measured"] = (f"p99 {statistics.median(added):.0f} ms ({max(added):.0f}), p50 "
                              f"{statistics.median(run['added_p50_ms'] for run in good):.0f} ms; stream "
                              f"{statistics.median(run['MB_s'] for run in good):.2f} MB/s")
        if statistics.median(added) > QUEUE:
            result["faults"].append("later than asked")
    else:
        result["asked"] = "0 restarts, 0 lost, 0 doubled, 0 disordered"
        counted = ("restarts", "suspicions", "lost", "doubled", "disordered")
        total = {key: sum(run[key] for run in good) for key in counted}
        result["measured"] = (f"{total['restarts']} restarts, {total['suspicions']} suspicions, {total['lost']} lost, "
                              f"{total['doubled']} doubled, {total['disordered']} disordered; longest gap "
                              f"{max(run['gap'] for run in good) * 1000:.0f} ms")
        if good[0]["bulk_MB_s"]:
            result["measured"] += f"; bulk {statistics.median(run['bulk_MB_s'] for run in good):.1f} MB/s"
        faulty = ("restarts", "lost", "doubled", "disordered")
        result["faults"] += [f"{total[key]} {key}" for key in faulty if total[key]]
    return result


def setup(tools, folder, kinds):
    """From when the offerer learns of the other until its channel is open, and until both can send. One access link has
    the delay, and signaling crosses it too."""
    session = Session(tools, folder, kinds, forwarders=(1,), before=lambda s: s.forwarders[1].set(delay=25))
    with closing(session):
        begins = [first(peer, lambda e: e["event"] == "peer" and e["state"] == "joined") for peer in session.peers]
        ends = [first(peer, lambda e: e["event"] == "peer" and e["state"] == "connected") for peer in session.peers]
        # The one with the smaller id offers.
        offerer = min((0, 1), key=lambda index: session.peers[index].id)
        seconds = ends[offerer] - begins[offerer]
        return {"seconds": seconds, "round_trips": seconds / ROUND_TRIP,
                "both_round_trips": (max(ends) - min(begins)) / ROUND_TRIP, "delayed_offers": offerer == 0,
                "late_ms": session.forwarders[1].statistics()["late"],
                "path": session.peers[offerer].paths().get(session.peers[1 - offerer].id)}


def first(peer, matches):
    return next(event["t"] for event in peer.events if matches(event))


def throughput(tools, folder, size, seconds=8):
    """`room bench-peer` at both ends; counted by the receiver."""
    session = Session(tools, folder, PAIR, forwarders=(1,), before=lambda s: s.forwarders[1].set(delay=25))
    with closing(session) as ends:
        sender, receiver = bench_ends(session, tools, ends)
        receiver.command(do="count")
        receiver.wait_event("ok")
        sender.command(do="flood", size=size, seconds=seconds)
        sender.wait_event("flooded", seconds + 30)
        receiver.command(do="counted")
        counted = receiver.wait_event("counted")
        statistics = session.forwarders[1].statistics()
        return {"MB_s": counted["bytes"] / counted["seconds"] / 1e6, "messages": counted["messages"],
                "late_ms": statistics["late"],
                "overflowed": statistics["ab"]["overflowed"] + statistics["ab"]["unsent"]}


@contextlib.contextmanager
def closing(session):
    """A list of further processes of a session, which end with it."""
    processes = []
    try:
        yield processes
    finally:
        for process in processes:
            process.stop()
        session.close()


def bench_ends(session, tools, ends):
    """`room bench-peer` at both ends, connected. Adds both to `ends`."""
    for index in (1, 2):
        site = session.site(index)
        ends.append(Child(
            f"bench{index}", site.peer,
            [tools.room, "bench-peer", "--name", f"bench{index}", "--server", f"ws://{SERVER}:{PORT}/"]
            + (["--as-host"] if index == 1 else []), session.folder))
        ends[-1].wait_event("joined")
    for end in ends:
        end.wait_event("open", 30)
    return ends


def beside_stream(tools, folder, seconds=15):
    """Round trips of small messages, one at a time, with and without a stream at full speed beside them."""
    link = {"delay": 25, "rate": 20, "queue": QUEUE}
    session = Session(tools, folder, PAIR, forwarders=(1,), before=lambda s: s.forwarders[1].set(**link))
    with closing(session) as ends:
        sender, receiver = bench_ends(session, tools, ends)
        receiver.command(do="echo")
        receiver.wait_event("ok")
        sender.command(do="roundTrips", count=100)
        alone = percentiles(sender.wait_event("roundTrips", 60)["histogram"])
        receiver.command(do="receiveStream")
        receiver.wait_event("ok")
        sender.command(do="stream", seconds=seconds, count=1)
        streamed = sender.wait_event("streamed", seconds + 60)
        beside = percentiles(streamed["histogram"])
        return {"alone_p50_ms": alone[50], "added_p50_ms": beside[50] - alone[50],
                "added_p99_ms": beside[99] - alone[50], "MB_s": streamed["bytes"] / seconds / 1e6,
                "late_ms": session.forwarders[1].statistics()["late"]}


def percentiles(histogram):
    """The 50th and the 99th, in milliseconds, of a histogram as Benchmarks/README.md describes it."""
    buckets = list(zip(histogram["buckets"][::2], histogram["buckets"][1::2]))
    total = sum(count for _, count in buckets)
    found = {}
    for percent in (50, 99):
        seen = 0
        for bucket, count in buckets:
            seen += count
            if seen * 100 >= total * percent:
                shift = max(bucket // 128 - 1, 0)
                nanoseconds = bucket if bucket < 256 else (bucket - 128 * shift) << shift
                found[percent] = nanoseconds / 1e6
                break
    return found


LINKS = {
    "loss-1": {"delay": 25, "loss": 1},
    "loss-1-bulk": {"delay": 25, "loss": 1},
    "bufferbloat-300": {"delay": 5, "rate": 20, "queue": 300},
    "reordering": {"delay": 10, "reorder": 5, "dup": 2},
}


def quiet(tools, folder, name, seconds=20.0):
    """20 messages a second each way over a bad link, with bulk data of a second pair in the same link where the name
    says so."""
    session = Session(tools, folder, PAIR, forwarders=(1,))
    with closing(session) as bulk:
        if name.endswith("bulk") or name.startswith("bufferbloat"):
            bulk_pair(session, tools, bulk)
        session.start_traffic()
        session.forwarders[1].set(**LINKS[name])
        begin = time.monotonic()
        flood = Flood(bulk[0], begin + seconds) if bulk else None
        time.sleep(max(0, begin + seconds - time.monotonic()))
        session.traffic.stop()
        received = sum(len(messages) for messages in bulk[1].received.values()) if bulk else 0
        if flood:
            flood.join()
        session.wait_until_delivered()
        run = session.delivery()
        run["gap"] = max(session.largest_gap(pair, begin) for pair in session.pairs())
        news = [event for peer in [*session.peers, *bulk] for event in peer.events if event["t"] > begin]
        steps = [step for event in news if event["event"] == "incident" for step in event["steps"]]
        run["restarts"] = sum(step["step"] in ("restartRequested", "rebuildRequested") for step in steps)
        run["suspicions"] = sum(event["event"] == "peer" and event["state"] == "recovering" for event in news)
        run["bulk_MB_s"] = received * Flood.SIZE / seconds / 1e6
        run["link"] = session.forwarders[1].statistics()
        run["late_ms"] = run["link"]["late"]
        return run


def bulk_pair(session, tools, pair):
    for index in (1, 2):
        pair.append(Peer(
            f"bulk{index}", session.site(index), tools.room, session.folder, host=index == 1, in_room="bulk"))
        pair[-1].wait_event("joined")
    for peer in pair:
        peer.wait("connection", lambda p: p.connected(), 30)


class Flood(threading.Thread):
    """Numbered messages of 16 KiB, as fast as they are accepted."""

    SIZE = 16_384

    def __init__(self, peer, until):
        super().__init__(daemon=True)
        self._peer, self._until = peer, until
        self.start()

    def run(self):
        number = 1
        while self._peer.command_patiently(self._until, do="send", text=f"{number} ".ljust(self.SIZE, "x")):
            number += 1
