"""The lab's processes: peers, the room server, coturn, forwarders. Each is ended by its own pid."""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import time

from network import PORT, SERVER, TURN, LabError

DEADLINE = 20.0
SECRET = "network-lab"


class Child:
    """A process in a namespace that writes JSON Lines; its standard error goes to a file."""

    def __init__(self, name, namespace, arguments, folder):
        self.name = name
        self.events = []
        self.changed = threading.Condition()
        self.has_ended = False
        self._log = open(folder / f"{name}.log", "ab")
        self.log_name = f"{folder.parent.name}/{folder.name}/{name}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOM_")}
        self.process = subprocess.Popen(
            namespace.command(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env=environment)
        os.set_blocking(self.process.stdin.fileno(), False)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "failed", "message": f"not JSON: {line[:200]!r}", "t": time.monotonic()}
            with self.changed:
                self.take(event)
                self.changed.notify_all()
        with self.changed:
            self.has_ended = True
            self.changed.notify_all()

    def take(self, event):
        self.events.append(event)

    def wait(self, what, matches, seconds=DEADLINE):
        """Waits until `matches(self)` is true of the events so far, and returns its value."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                value = matches(self)
                if value:
                    return value
                left = deadline - time.monotonic()
                if self.has_ended or left <= 0:
                    why = "it ended" if self.has_ended else f"not within {seconds:g} s"
                    errors = [event for event in self.events if event.get("event") in ("error", "failed")]
                    said = f" It said: {json.dumps(errors[-1])}" if errors else ""
                    raise LabError(f"{self.name}: no {what}: {why}.{said} Its log: {self.log_name}")
                self.changed.wait(left)

    def wait_event(self, name, seconds=DEADLINE):
        return self.wait(name, lambda child: next((e for e in child.events if e.get("event") == name), None), seconds)

    def command(self, **fields):
        """Returns False when the pipe is full (the process is stopped) or closed. A line below 4 KiB is written whole
        or not at all."""
        try:
            os.write(self.process.stdin.fileno(), json.dumps(fields).encode() + b"\n")
            return True
        except (BlockingIOError, BrokenPipeError):
            return False

    def command_patiently(self, until, **fields):
        """Waits while the pipe is full. Returns False at the time `until` (perhaps in the middle of a line), or when
        the process is gone."""
        line = json.dumps(fields).encode() + b"\n"
        pipe = self.process.stdin.fileno()
        while line:
            _, writable, _ = select.select([], [pipe], [], max(0, until - time.monotonic()))
            if not writable:
                return False
            try:
                line = line[os.write(pipe, line):]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return False
        return True

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ends the process gracefully, or else by force."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(5)
        self.process.stdin.close()
        self._log.close()


class Participant(Child):
    """`room connect --json`."""

    def __init__(self, name, namespace, room, folder, server, arguments=(), in_room="lab", under=()):
        """`server` is the URL. `under` is a command that runs the command after it."""
        self.id = None
        super().__init__(
            name, namespace,
            [*under, room, "connect", in_room, "--name", name, "--json", "--server", server, *arguments], folder)

    def take(self, event):
        if event.get("event") == "joined":
            self.id = event["self"]
        self.events.append(event)

    def named(self, kind):
        """The events of one kind so far."""
        return [event for event in self.events if event.get("event") == kind]

    def wait_connected(self, count=1, seconds=DEADLINE):
        self.wait(f"connection to {count} others", lambda child: len(child.connected()) >= count, seconds)

    def wait_message(self, text, seconds=DEADLINE):
        self.wait("message", lambda child: any(event.get("text") == text for event in child.named("message")), seconds)

    def connected(self):
        """The ids of the peers to which the path works now."""
        return {peer for peer, state in self.peer_states().items() if state == "connected"}

    def peer_states(self):
        states = {}
        for event in self.named("peer"):
            if event["state"] == "left":
                states.pop(event["id"], None)
            elif event["state"] != "changed" and not (event["state"] == "joined" and event["id"] in states):
                states[event["id"]] = event["state"]
        return states

    def paths(self):
        return {event["id"]: event.get("path") for event in self.named("peer") if event["state"] == "connected"}

    def signaling(self):
        return self.named("signaling")


class Peer(Participant):
    """A participant behind a NAT. Numbered messages are kept apart from the other events, by sender."""

    def __init__(self, name, site, room, folder, host=False, policy="all", in_room="lab"):
        self.site = site
        self.received = {}
        self.sent_count = 0
        arguments = ["--ice-policy", policy, "--log-level", "debug"] + (["--as-host"] if host else [])
        super().__init__(name, site.peer, room, folder, f"ws://{SERVER}:{PORT}/", arguments, in_room)

    def take(self, event):
        kind = event.get("event")
        if kind == "message":
            number = event.get("text", "").split(" ", 1)[0]
            if number.isdigit():
                self.received.setdefault(event["from"], []).append((event["t"], int(number)))
                return
        elif kind == "sent":
            self.sent_count = event["count"]
            return
        super().take(event)

    def send(self, number, padding=""):
        return self.command(do="send", text=f"{number}{padding}")


class RoomServer:
    def __init__(self, network, room, folder):
        self._network, self._room, self._folder = network, room, folder
        self.child = None
        self._starts = 0
        secret = folder / "turn-secret"
        secret.write_text(SECRET)
        self._arguments = [
            room, "serve", "--host", "0.0.0.0", "--port", str(PORT), "--session-key-file", str(folder / "session-key"),
            "--stun-uri", f"stun:{TURN}:3478", "--turn-uri", f"turn:{TURN}:3478?transport=udp",
            "--turn-secret-file", str(secret), "--maximum-participants", "16",
        ]

    def start(self):
        """The time when it listens, by its own clock, which is the same for all processes."""
        self._starts += 1
        self.child = Child(f"server-{self._starts}", self._network.server, self._arguments, self._folder)
        return self.child.wait_event("listening")["t"]

    def kill(self):
        self.child.kill()
        self.stop()

    def stop(self):
        if self.child:
            self.child.stop()
            self.child = None


class TurnServer:
    def __init__(self, network, folder):
        self._network, self._folder = network, folder
        self._process = None
        self._log = open(folder / "turn.log", "ab")

    def start(self):
        """The time of its first answer."""
        self._process = subprocess.Popen(
            self._network.turn.command([
                "turnserver", "-n", "--no-cli", "--listening-ip", TURN, "--relay-ip", TURN, "--use-auth-secret",
                f"--static-auth-secret={SECRET}", "--realm", "lab", "--no-tls", "--no-dtls", "--fingerprint",
                "--log-file", "stdout", "--simple-log", "--userdb", str(self._folder / "turndb"),
                "--pidfile", str(self._folder / "turn.pid"),
            ]), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        return self._wait_until_it_answers()

    def _wait_until_it_answers(self):
        # A STUN binding request, RFC 8489 §5: type, length, magic cookie, transaction id.
        request = bytes.fromhex("00010000" + "2112a442") + os.urandom(12)
        with self._network.server.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
            probe.settimeout(0.02)
            deadline = time.monotonic() + DEADLINE
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise LabError(f"turnserver ended with status {self._process.returncode}: see turn.log")
                try:
                    probe.sendto(request, (TURN, 3478))
                    if probe.recv(1500)[8:20] == request[8:20]:
                        return time.monotonic()
                except ConnectionRefusedError:
                    time.sleep(0.005)
                except TimeoutError:
                    pass
        raise LabError(f"turnserver does not answer: see turn.log")

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self):
        if self._process:
            self.kill()
        self._log.close()


class Forwarder:
    """The forwarder in front of one site. The direction "ab" leads away from the peer."""

    def __init__(self, executable, site, folder):
        self._child = subprocess.Popen(
            site.filter.command([str(executable), "near", "far"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(folder / f"forwarder-{site.index}.log", "ab"), text=True, bufsize=1)
        if self._child.stdout.readline() != "ok\n":
            raise LabError(f"the forwarder of site {site.index} did not start: see forwarder-{site.index}.log")

    def set(self, direction="both", **settings):
        words = " ".join(f"{key}={value:g}" for key, value in settings.items())
        self._child.stdin.write(f"{direction} {words}\n")
        if self._child.stdout.readline() != "ok\n":
            raise LabError("the forwarder ended")

    def statistics(self):
        self._child.stdin.write("stats\n")
        return json.loads(self._child.stdout.readline())

    def stop(self):
        self._child.stdin.close()
        try:
            self._child.wait(3)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def make_folder(path):
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    return path
