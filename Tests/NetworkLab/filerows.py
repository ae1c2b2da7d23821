"""The outages of the table, with a file on its way instead of messages: `room send` and `room receive` by a code, on a
slow link, so that the outage falls in the middle."""

import hashlib
import json
import os
import shutil
import time

from network import PORT, SERVER, LabError, run
from processes import Child
from session import Stage

# 20 % before the outage, and about 5 s for the rest.
SIZE = 12_000_000
# Bytes a second.
RATE = 2_000_000
LINK = f"rate {8 * RATE}bit burst 64kb latency 100ms"
BEFORE = 0.2
HEALING_LIMIT = 60.0
ENDS = ("sender", "receiver")


class FileSession(Stage):
    """A sender and a receiver at the first two sites. `first`: which of them is at the first, which most outages hit.
    """

    def __init__(self, tools, folder, row, first):
        self.children = {}
        super().__init__(tools, folder, row.kinds)
        try:
            self._room, self._policy = tools.room, row.policy
            self._source, self._target = self.folder / "file", self.folder / "target"
            # Where the outage does not stop the file, the rest is still there at its end.
            self._size = SIZE + row.flows * RATE
            self._source.write_bytes(os.urandom(self._size))
            # That of an earlier run.
            shutil.rmtree(self._target, ignore_errors=True)
            sites = {"sender": 1, "receiver": 2} if first == "sender" else {"sender": 2, "receiver": 1}
            slow = self.site(sites["sender"]).peer
            run(slow.command(["tc", "qdisc", "add", "dev", "lan0", "root", "tbf", *LINK.split()]))
            sender = self._start("sender", sites, "send", str(self._source))
            code = sender.wait_event("code")["code"]
            self._start("receiver", sites, "receive", code, "--into", str(self._target))
            self._at_site = {sites[name]: child for name, child in self.children.items()}
        except BaseException:
            self.close()
            raise

    def _start(self, name, sites, *arguments):
        self.children[name] = self.keep(Child(
            name, self.site(sites[name]).peer,
            [self._room, *arguments, "--server", f"ws://{SERVER}:{PORT}/", "--json", "--ice-policy", self._policy,
             "--log-level", "debug"], self.folder))
        return self.children[name]

    # What an outage asks of a session.

    def peer(self, index):
        return self._at_site[index]

    def pairs(self):
        return [None]

    def first_message(self, _, moments):
        """Seconds from the end of the outage until the receiver had written more, or None. Programs hear of it twice a
        second."""
        for event in self.children["receiver"].events:
            if event.get("event") in ("progress", "done") and event["t"] >= moments.end:
                return event["t"] - moments.end
        return None

    # Measuring

    def _bytes(self, until):
        return max((event["bytes"] for event in self.children["receiver"].events
                    if event.get("event") == "progress" and event["t"] <= until), default=0)

    def measure(self, row):
        receiver = self.children["receiver"]
        receiver.wait(f"{BEFORE * SIZE / 1e6:.1f} MB", lambda child: self._bytes(float("inf")) >= BEFORE * SIZE, 30)
        moments = row.cause(self)
        run = {"before": self._bytes(moments.begin), "after": self._bytes(moments.end), "faults": []}
        if run["after"] >= self._size:
            run["faults"].append("the outage came too late")
        for name, child in self.children.items():
            child.wait("end", lambda child: child.has_ended, HEALING_LIMIT)
            if status := child.process.wait(10):
                errors = [event["message"] for event in child.events if event.get("event") == "error"]
                run["faults"].append(f"the {name} ended with {status}: {errors[-1] if errors else ''}")
            for kind in ("file", "done"):
                if (count := sum(event.get("event") == kind for event in child.events)) != 1:
                    run["faults"].append(f"the {name} says {count} times: {kind}")
        run["seconds"] = self.first_message(None, moments)
        arrived = sorted(path.name for path in self._target.iterdir()) if self._target.exists() else []
        if arrived != [self._source.name]:
            run["faults"].append(f"there is {arrived}")
        elif digest(self._target / self._source.name) != digest(self._source):
            run["faults"].append("the file is another")
        return run

    def close(self):
        super().close()
        for name, child in self.children.items():
            with open(self.folder / f"{name}.jsonl", "w") as file:
                file.writelines(json.dumps(event) + "\n" for event in child.events)


def digest(path):
    return hashlib.sha256(path.read_bytes()).digest()


def measure(row, tools, repeat, say):
    """Each run twice: the outage hits the sender, and the receiver."""
    runs = []
    for number in range(1, repeat + 1):
        for end in ENDS:
            try:
                session = FileSession(tools, tools.folder / "file" / row.name / end / str(number), row, end)
                try:
                    result = session.measure(row)
                finally:
                    session.close()
            except LabError as error:
                result = {"seconds": None, "faults": [str(error)]}
            result["end"] = end
            runs.append(result)
            say(f"… file, {row.name}, {end} {number}/{repeat}: {describe(result)}")
    faults = [f"{run['end']}: {fault}" for run in runs for fault in run["faults"]]
    seconds = {end: [run["seconds"] for run in runs if run["end"] == end and run["seconds"] is not None]
               for end in ENDS}
    return {"name": row.name, "title": row.title, "runs": runs, "seconds": seconds, "faults": faults}


def describe(run):
    if run["faults"]:
        return "; ".join(run["faults"])
    more = "–" if run["seconds"] is None else f"{run['seconds']:.2f} s"
    return (f"whole; {run['before'] / 1e6:.1f} MB before, {run['after'] / 1e6:.1f} MB at the end of the outage, more "
            f"after {more}")


__all__ = ["measure"]
