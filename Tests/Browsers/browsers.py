"""Browsers and Swift in rooms, through outages. Started by `run`, inside namespaces of its own. See README.md."""

import argparse
import fnmatch
import json
import os
import pathlib
import platform
import signal
import sys
import time

import checks
import four
import measurements
import results
import server_page
import session
from drivers import KINDS
from meeting import Lab, LabError, Tools
from outages import OUTAGES
from processes import make_folder
from session import STALL, undisturbed

PAIRS = ("chromium-swift", "firefox-swift", "chromium-firefox", "firefox-chromium")
SHORT_PAIRS = PAIRS[:3]
ROLES = ("offerer", "answerer")
# What has not healed after this never does: no asked figure is near it.
session.HEALING_LIMIT = 25.0


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    def __init__(self, options):
        self.options = options
        self.tools = Tools(options.room, options.client, options.folder)
        self.checks, self.outages, self.measurements = [], [], []
        self.skipped = []
        self.versions = {}

    def wants(self, name):
        patterns = self.options.only
        return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns.split(","))

    def missing(self, kinds):
        return next((reason for kind in kinds if (reason := self.options.missing.get(kind))), None)

    # Parts

    def pair(self, name):
        kinds = name.split("-")
        work = [item for item in self._work(name, kinds) if self.wants(f"{name}/{item[0]}")]
        if not work:
            return
        if missing := self.missing(kinds):
            return self.skip(f"{name}, {len(work)} checks", missing)
        lab = self._lab(name, kinds)
        if not lab:
            return
        try:
            self.versions |= lab.versions()
            for title, body in work:
                lab = self._alive(lab, name, kinds)
                body(lab)
        except LabError as error:
            self.note_check(name, "", "the lab", error=str(error))
        finally:
            lab.close()

    def _lab(self, name, kinds):
        try:
            return Lab(self.tools, name, kinds)
        except LabError as error:
            self.note_check(name, "", "start", error=str(error))
            return None

    def _alive(self, lab, name, kinds):
        """A new lab when a browser has crashed."""
        if all(browser.process.poll() is None for browser in lab.browsers.values()):
            return lab
        self.note_check(name, "", "the browsers", error="a browser has ended by itself")
        lab.close()
        return Lab(self.tools, name, kinds)

    def _work(self, name, kinds):
        """(name, body) of everything for this pair."""
        short = self.options.short
        for role in ROLES:
            yield f"messages-{role}", lambda lab, role=role: self._checks(lab, name, role)
        if "swift" in kinds:
            yield "with-swift", lambda lab: self._alone(lab, name, checks.with_swift)
            yield "with-examples", lambda lab: self._alone(lab, name, checks.with_examples)
            yield "server-page", lambda lab: self._alone(lab, name, server_page.with_swift)
        else:
            yield "server-page", lambda lab: self._alone(lab, name, server_page.between_pages)
        for outage in OUTAGES:
            if short and not outage.is_short or outage.needs and kinds[0] not in outage.needs:
                continue
            for role in (None,) if short or name == PAIRS[3] else ROLES:
                title = f"{outage.name}-{role}" if role else outage.name
                yield title, lambda lab, outage=outage, role=role: self._outage(lab, name, outage, role)

    def _checks(self, lab, name, role):
        try:
            meeting = lab.meet(f"messages-{role}", role)
        except LabError as error:
            return self.note_check(name, role, "connect", error=str(error))
        self.note_check(name, role, "connect")
        try:
            between_pages = all(peer.kind != "swift" for peer in meeting.peers)
            for check in (*checks.MESSAGES, *(checks.EXCHANGE if between_pages else ()), checks.leave):
                if not self._check(name, role, check, meeting):
                    # What is left of it would disturb the next.
                    meeting.close()
                    meeting = lab.meet(f"messages-{role}", role)
            complaints = meeting.complaints()
            self.note_check(name, role, "the console is empty", error="; ".join(complaints) or None)
        except LabError as error:
            self.note_check(name, role, "connect again", error=str(error))
        finally:
            meeting.close()

    def _alone(self, lab, name, check):
        folder = make_folder(lab.folder / check.__name__)
        self._check(name, "", check, lab, folder)

    def _check(self, name, role, check, *arguments):
        """Whether it passed, or was skipped."""
        started = time.monotonic()
        try:
            note = check(*arguments)
        except checks.Skip as reason:
            self.skip(f"{name}: {check.__doc__}", str(reason))
            return True
        except (checks.Failure, LabError) as error:
            self.note_check(name, role, check.__doc__, error=str(error))
            return False
        self.note_check(name, role, check.__doc__, note=note, seconds=time.monotonic() - started)
        return True

    def _outage(self, lab, name, outage, role):
        def measure(number):
            try:
                title = f"{outage.name}-{role}-{number}" if role else f"{outage.name}-{number}"
                meeting = lab.meet(title, role, outage.policy)
                try:
                    run = meeting.measure(outage.cause)
                    run["role"] = meeting.role()
                    run["complaints"] = meeting.complaints()
                    run["failed"] = [event["message"] for peer in meeting.peers for event in peer.named("failed")]
                    return run
                finally:
                    meeting.close()
            except LabError as error:
                return {"error": str(error), "role": role or ""}

        def disturbance(run):
            if run.get("stall", 0) > STALL:
                return f"the harness stood still for {run['stall']:.2f} s"

        run, = undisturbed(
            f"{name}/{outage.name}", 1, 2, measure, disturbance, results.describe, say)
        faults = results.verdict(outage, run, lab.kinds, not self.options.untimed)
        self.outages.append({"pair": name, "name": outage.name, "title": outage.title, "role": run["role"],
                             "asked": outage.limit(lab.kinds), "faults": faults, **run})
        if faults:
            say(f"FAILED: {name}/{outage.name} as {run['role']}: {'; '.join(faults)}")

    def room_of_four(self):
        if not self.wants("four/room"):
            return
        if missing := self.missing(("chromium", "firefox")):
            return self.skip("a room of four", missing)
        for title, run, faults in four.measure(self.tools, say, not self.options.untimed):
            self.outages.append({"pair": "chromium, firefox, 2 × swift", "name": "four", "title": title, "role": "",
                                 "asked": 1.0, "faults": faults, **run})

    def measure(self):
        if not self.wants("measure/all"):
            return
        if missing := self.missing(("chromium",)):
            return self.skip("the measurements", missing)
        try:
            for item in measurements.measure(self.tools, self.options.missing, say):
                self.measurements.append(item)
        except (LabError, checks.Failure) as error:
            self.note_check("measurements", "", "run", error=str(error))

    # Results

    def skip(self, what, why):
        self.skipped.append({"what": what, "why": why})
        say(f"SKIPPED: {what}: {why}")

    def note_check(self, pair, role, name, note=None, error=None, seconds=None):
        self.checks.append({"pair": pair, "role": role, "name": name, "note": note, "error": error, "seconds": seconds})
        where = f"{pair} {role}".strip()
        if error:
            say(f"FAILED: {where}: {name}: {error}")
        else:
            say(f"ok: {where}: {name}" + (f" ({seconds:.1f} s{', ' + note if note else ''})" if seconds else ""))

    def document(self, started, earlier=None):
        """`earlier`: a document whose results are kept where this run has not repeated them."""
        def kept(part, *keys):
            own = {tuple(item[key] for key in keys) for item in getattr(self, part)}
            return [item for item in (earlier or {}).get(part, ()) if tuple(item[key] for key in keys) not in own]

        outages = kept("outages", "pair", "title", "role") + self.outages
        return {
            "machine": {"cpus": os.cpu_count(), "kernel": platform.release().split("-")[0], "load": os.getloadavg()},
            "versions": {**(earlier or {}).get("versions", {}), **self.versions}, "build": self.options.build,
            "seconds": (earlier or {}).get("seconds", 0) + round(time.monotonic() - started),
            "checks": sorted(kept("checks", "pair", "role", "name") + self.checks, key=self._place),
            "outages": sorted(outages, key=self._place),
            "measurements": kept("measurements", "name") + self.measurements, "skipped": self.skipped,
        }

    def _place(self, item):
        """The order of the report."""
        names = [outage.name for outage in OUTAGES]
        return (*(names.index(item["name"]) if item["name"] in names else len(names),) * ("faults" in item),
                PAIRS.index(item["pair"]) if item["pair"] in PAIRS else len(PAIRS), item["role"])


def main():
    parser = argparse.ArgumentParser(prog="Tests/Browsers/run", description="Real browsers in rooms, through outages.")
    parser.add_argument("--room", required=True)
    parser.add_argument("--client", required=True, help="the folder of room.js")
    parser.add_argument("--folder", required=True, help="for logs and events")
    parser.add_argument("--build", default="", help="how room was built, for the report")
    parser.add_argument("--short", action="store_true", help="at most six minutes")
    parser.add_argument("--untimed", action="store_true", help="check what arrives and heals, not the times")
    parser.add_argument("--only", help="patterns of PAIR/NAME, comma-separated, such as 'firefox-swift/silent-*'")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--missing", action="append", default=[], metavar="WHAT=WHY")
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true", help="keep what is in the file of --json and was not repeated")
    parser.add_argument("--markdown")
    options = parser.parse_args()
    options.missing = dict(text.split("=", 1) for text in options.missing)
    for kind, driver in KINDS.items():
        if not driver.executable():
            options.missing.setdefault(kind, f"no {kind} on this machine")
    run = Run(options)
    pairs = SHORT_PAIRS if options.short else PAIRS
    if options.list:
        for pair in pairs:
            for name, _ in run._work(pair, pair.split("-")):
                print(f"{pair}/{name}")
        print("four/room\nmeasure/all")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        for pair in pairs:
            run.pair(pair)
        run.room_of_four()
        if not options.short:
            run.measure()
    except KeyboardInterrupt:
        say("interrupted: what was finished follows")
    file = pathlib.Path(options.json) if options.json else None
    document = run.document(started, json.loads(file.read_text()) if options.keep and file.exists() else None)
    text = results.markdown(document)
    print(text)
    if file:
        file.write_text(json.dumps(document, indent=1) + "\n")
    if options.markdown:
        pathlib.Path(options.markdown).write_text(text)
    faulty = sum(bool(c["error"]) for c in run.checks) + sum(bool(o["faults"]) for o in run.outages)
    faulty += sum(bool(m["faults"]) for m in run.measurements)
    total = len(run.checks) + len(run.outages) + len(run.measurements)
    print(f"{total - faulty} passed, {faulty} failed, {len(run.skipped)} skipped")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
