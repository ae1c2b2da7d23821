"""Unusual machines and networks: each case is a file in `cases/`, with a function `check(case)` whose docstring is the
rule it proves.

A case fails by an exception: `case.require(…)`, or whatever the lab itself raises. It lives for `LIMIT` seconds at
most, or for as many as its module's `SECONDS` says.
"""

import contextlib
import fnmatch
import importlib.util
import json
import pathlib
import signal
import subprocess
import time

from network import PORT, Cable, LabError, Namespace
from processes import Child, Participant, make_folder

FOLDER = pathlib.Path(__file__).parent / "cases"
LIMIT = 30.0


class CaseFailed(Exception):
    """One sentence."""


class CaseSkipped(Exception):
    """One sentence: what is missing."""


class FieldCase:
    def __init__(self, path):
        specification = importlib.util.spec_from_file_location(f"case_{path.stem}", path)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        self.name = path.stem
        self.check = module.check
        self.title = " ".join(module.check.__doc__.split("\n\n")[0].split()).rstrip(".")
        self.limit = getattr(module, "SECONDS", LIMIT)


def load(pattern="*"):
    """The cases whose names match one of the comma-separated patterns."""
    patterns = pattern.split(",")
    paths = [path for path in sorted(FOLDER.glob("*.py")) if any(fnmatch.fnmatch(path.stem, p) for p in patterns)]
    if not paths:
        names = ", ".join(path.stem for path in sorted(FOLDER.glob("*.py")))
        raise SystemExit(f"there is no case {pattern}: there is {names}")
    return [FieldCase(path) for path in paths]


class Case:
    """The tools of a case. All processes that it starts end with it."""

    def __init__(self, tools, folder):
        self.room = tools.room
        self.folder = make_folder(folder)
        self._ends = contextlib.ExitStack()
        self._children = []

    def cable(self, a=(), b=(), mtu=1500):
        """Two machines with these addresses on one cable."""
        cable = Cable(a, b, mtu)
        self._ends.callback(cable.remove)
        return cable

    def machine(self, name):
        """A machine with nothing but its loopback interface."""
        namespace = Namespace(name, has_ipv6=True)
        self._ends.callback(namespace.remove)
        return namespace

    def start(self, name, host, command, kind=Child):
        """Any program that writes JSON lines, on a host."""
        return self._started(kind(name, host, command, self.folder))

    def _started(self, child):
        self._children.append(child)
        self._ends.callback(child.stop)
        return child

    def serve(self, host, address="127.0.0.1", *arguments, port=PORT, name="server"):
        """Starts `room serve`, and returns when it listens. Participants connect to its `url`."""
        command = [self.room, "serve", "--host", address, "--port", str(port), *arguments]
        # The state directory of the case; without it, a key would be left in the home directory.
        if "--session-key-file" not in arguments:
            command += ["--session-key-file", str(self.folder / "session-key")]
        child = self.start(name, host, command)
        child.url = child.wait_event("listening")["url"]
        return child

    def connect(self, name, host, server, *arguments, room="lobby", under=()):
        """`room connect --json`. `server`: a started one, or a URL."""
        url = server if isinstance(server, str) else server.url
        return self._started(Participant(name, host, self.room, self.folder, url, arguments, room, under))

    def pair(self, a, b, server, *arguments):
        """Two participants that have exchanged a message in each direction."""
        first = self.connect("a", a, server, "--as-host", *arguments)
        first.wait_event("joined")
        second = self.connect("b", b, server, *arguments)
        self.exchange(first, second)
        return first, second

    def exchange(self, first, second):
        for one in (first, second):
            one.wait_connected()
        for one, other in ((first, second), (second, first)):
            one.command(do="send", text=f"from {one.name}")
            other.wait_message(f"from {one.name}")

    def doctor(self, host, *arguments, under=()):
        """The findings of `room doctor`, as a list of dictionaries."""
        result = self.run(host, *under, self.room, "doctor", "--json", *arguments)
        findings = [json.loads(line) for line in result.stdout.splitlines()]
        return [finding for finding in findings if finding["event"] == "check"]

    def run(self, host, *command, text=None, seconds=20.0):
        """Runs a command that ends by itself, with any status."""
        return subprocess.run(host.command(list(command)), input=text, capture_output=True, text=True, timeout=seconds)

    def require(self, holds, sentence):
        if not holds:
            raise CaseFailed(sentence)

    def skip(self, why):
        raise CaseSkipped(why)

    def close(self):
        self._ends.close()
        for child in self._children:
            with open(self.folder / f"{child.name}.jsonl", "w") as file:
                file.writelines(json.dumps(event) + "\n" for event in child.events)


@contextlib.contextmanager
def limited(seconds):
    def expired(*_):
        raise CaseFailed(f"it did not end within {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def measure(field_case, tools, say):
    started = time.monotonic()
    result = {"name": field_case.name, "title": field_case.title, "faults": [], "skipped": False, "why_skipped": None}
    case = Case(tools, tools.folder / "cases" / field_case.name)
    try:
        with limited(field_case.limit):
            field_case.check(case)
    except CaseSkipped as reason:
        result["skipped"], result["why_skipped"] = True, str(reason)
    except (CaseFailed, LabError, subprocess.TimeoutExpired) as error:
        result["faults"] = [str(error)]
    except Exception as error:
        line = error.__traceback__
        while line.tb_next:
            line = line.tb_next
        place = f"{pathlib.Path(line.tb_frame.f_code.co_filename).name}:{line.tb_lineno}"
        result["faults"] = [f"{type(error).__name__} at {place}: {error}"]
    finally:
        result["seconds"] = time.monotonic() - started
        case.close()
    verdict = "SKIPPED: " + result["why_skipped"] if result["skipped"] else "; ".join(result["faults"]) or "as asked"
    say(f"… {field_case.name}: {result['seconds']:.1f} s; {verdict}")
    return result


__all__ = ["CaseFailed", "CaseSkipped", "load", "measure"]
