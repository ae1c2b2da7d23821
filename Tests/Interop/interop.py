"""Checks our side against foreign WebRTC stacks, once as offerer and once as answerer. Started by `run`, which prepares
what it needs and says what is missing.

Who offers is decided by the order of the participants' ids, which the server chooses at random: so the meeting is
repeated, in a new room with new members, until both roles have come.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

from meeting import GRACE, TRICKLES_AS_ASKED, VARIANTS, Meeting, Skip
from processes import Browser, Failure, Process

FOLDER = pathlib.Path(__file__).parent
ROLES = ("offerer", "answerer")
# Within this many meetings both roles occur, except once in 16,000 times.
MEETINGS = 15


class Interop:
    def __init__(self, options):
        self.options = options
        self.passed = self.failed = self.skipped = 0
        self.logs = pathlib.Path(tempfile.mkdtemp(prefix="interop-logs-"))
        self.started = []
        self.meetings = 0

    # Results

    def record(self, what, result, note=""):
        """Adds a line to the file from which `report.py` makes the table."""
        if self.options.results:
            with open(self.options.results, "a") as file:
                file.write(json.dumps({"what": what, "result": result, "note": note}) + "\n")

    def skip(self, what, why):
        self.skipped += 1
        self.record(what, "skipped", why)
        print(f"SKIPPED: {what}: {why}", flush=True)

    def check(self, what, body):
        """Runs one check; whether it held (or could not be made)."""
        start = time.monotonic()
        try:
            note = body()
        except Skip as reason:
            self.skip(what, str(reason))
            return True
        except Failure as failure:
            self.failed += 1
            self.record(what, "failed", str(failure))
            print(f"FAILED: {what}: {failure}", flush=True)
            return False
        self.passed += 1
        self.record(what, "ok", note or "")
        print(f"ok: {what} ({time.monotonic() - start:.2f} s{', ' + note if note else ''})", flush=True)
        return True

    # Ends

    def start(self, end):
        self.started.append(end)
        return end

    def stop_all(self):
        while self.started:
            self.started.pop().stop()

    def log(self, name):
        return self.logs / f"{name}-{self.meetings}.log"

    def foreign(self, stack, room, host=False, echo=True, **options):
        name = f"{stack}-{'host' if host else 'guest'}"
        options |= ({"host": ""} if host else {}) | ({} if echo else {"no-echo": ""})
        if stack == "chromium":
            parameters = {"server": self.server, "room": room, "name": name, **options}
            return self.start(Browser(name, self.options.chromium, parameters, self.log(name)))
        arguments = [self.options.python, str(FOLDER / "peer.py"), stack, "--server", self.server]
        arguments += ["--room", room, "--name", name]
        for option, value in options.items():
            arguments += [f"--{option}"] + [value] * (value != "")
        return self.start(Process(name, arguments, self.log(name)))

    def ours(self, room):
        if self.options.subject != "room":
            return self.foreign(self.options.subject, room, host=True, echo=False)
        arguments = [
            self.options.room, "connect", room, "--name", "ours", "--as-host", "--json", "--server", self.server]
        arguments += ["--log-level", "trace"]
        return self.start(Process("ours", arguments, self.log("ours")))

    # The run

    def run(self):
        try:
            self.run_all()
        except Failure as failure:
            self.failed += 1
            print(f"FAILED: the run: {failure}", flush=True)
        if self.failed:
            print(f"logs: {self.logs}")
        return self.failed == 0

    def run_all(self):
        if self.options.subject == "room":
            arguments = [self.options.room, "serve", "--host", "127.0.0.1", "--port", "0"]
            arguments += ["--session-key-file", "none", "--grace", str(GRACE)]
        else:
            arguments = [self.options.python, str(FOLDER / "fake_server.py")]
        server = Process("server", arguments, self.log("server"))
        try:
            self.server = server.expect("the listening event", lambda e: e["event"] == "listening")["url"]
            for stack in self.options.stacks.split(","):
                self.meet(stack)
        finally:
            self.stop_all()
            server.stop()

    def meet(self, stack):
        missing = self.options.missing.get(stack)
        if missing:
            self.skip(f"{stack}, both roles", missing)
            return
        for variant, options in VARIANTS.items():
            if "gathered" in options and stack not in TRICKLES_AS_ASKED:
                continue
            self.meet_in_both_roles(stack, lambda: Meeting(self, stack, variant))

    def meet_in_both_roles(self, who, make_meeting):
        """The ids decide who offers: there are meetings until ours has had both roles."""
        left = set(ROLES)
        for _ in range(MEETINGS):
            self.meetings += 1
            try:
                meeting = make_meeting()
                if meeting.role in left:
                    left.remove(meeting.role)
                    meeting.run()
            except Failure as failure:
                self.failed += 1
                print(f"FAILED: {who}: the meeting: {failure}", flush=True)
                return
            finally:
                self.stop_all()
            if not left:
                return
        self.skip(f"{who}, ours as {' and '.join(left)}", f"the role never came in {MEETINGS} meetings")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--room", help="our executable")
    arguments.add_argument("--python", help="the interpreter that has the foreign stacks")
    arguments.add_argument("--chromium", help="the browser's executable")
    arguments.add_argument("--stacks", default="chromium,aiortc,libdatachannel,libwebrtc,pion")
    arguments.add_argument("--missing", action="append", default=[], metavar="STACK=WHY")
    arguments.add_argument(
        "--subject", default="room", help="room, or a foreign stack in its place, with a model of the server")
    arguments.add_argument("--results", help="a file to which one line of JSON is added for each check")
    options = arguments.parse_args()
    options.missing = dict(text.split("=", 1) for text in options.missing)
    interop = Interop(options)
    is_good = interop.run()
    if interop.passed + interop.failed == 0:
        print("SKIPPED: every foreign peer is missing; nothing was checked")
    print(f"{interop.passed} passed, {interop.failed} failed, {interop.skipped} skipped", flush=True)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
