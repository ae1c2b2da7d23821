"""The runner's ends: processes that speak JSON Lines, and a headless Chromium that speaks to a small http server of its
own.

Both have `events` (a list that grows), `command(…)`, `expect(…)` and `stop()`.
"""

import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

DEADLINE = 20.0


class Failure(Exception):
    """A failed check; the text is one sentence."""


class End:
    def __init__(self, name):
        self.name = name
        self.events = []
        self._changed = threading.Condition()
        self._has_ended = False

    def _add(self, events):
        with self._changed:
            self.events.extend(events)
            self._changed.notify_all()

    def _end(self):
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def expect(self, what, matches, since=0, seconds=DEADLINE):
        """The first event from `since` on that matches. Raises `Failure` after `seconds`, or when the other end is
        gone."""
        deadline = time.monotonic() + seconds
        index = since
        with self._changed:
            while True:
                while index < len(self.events):
                    if matches(self.events[index]):
                        return self.events[index]
                    index += 1
                if self._has_ended:
                    raise Failure(f"{self.name} ended before {what}{self.complaint()}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failure(f"{what} did not come from {self.name} within {seconds:g} s{self.complaint()}")
                self._changed.wait(left)

    def complaint(self):
        """The last error that the process reported, for the text of a failure."""
        trouble = [event for event in self.events if event.get("event") in ("error", "failed")]
        return f" (it said: {json.dumps(trouble[-1])})" if trouble else ""


class Process(End):
    """A child with commands on its standard input and events on its standard output; its standard error goes to a
    file."""

    def __init__(self, name, arguments, log):
        super().__init__(name)
        self._log = open(log, "ab")
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            try:
                self._add([json.loads(line)])
            except ValueError:
                self._add([{"event": "failed", "message": f"not JSON: {line[:200]!r}"}])
        self._end()

    def command(self, **fields):
        try:
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Failure(f"{self.name} does not read its commands any more{self.complaint()}") from error

    def exit_status(self, seconds=DEADLINE):
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name} did not exit within {seconds:g} s") from error

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        """Ends the process abruptly, as a crash does."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        end_process_group(self._process)
        self._reader.join(5)
        self._log.close()


class Browser(End):
    """Chromium with one page that acts as a peer."""

    folder = pathlib.Path(__file__).parent / "browser"
    types = {".html": "text/html", ".js": "text/javascript"}
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
        "--allow-loopback-in-peer-connection",
        "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
    ]

    def __init__(self, name, executable, parameters, log):
        super().__init__(name)
        self._commands = queue.Queue()
        self._log = open(log, "ab")
        self._home = tempfile.mkdtemp(prefix="interop-chromium-")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self._server.server_port}/index.html?{urllib.parse.urlencode(parameters)}"
        self._process = subprocess.Popen(
            [executable, *self.flags, f"--user-data-dir={self._home}/profile", url],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env={**os.environ, "HOME": self._home},
        )

    def command(self, **fields):
        self._commands.put(fields)

    def stop(self):
        end_process_group(self._process)
        self._server.shutdown()
        self._server.server_close()
        self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _handler(self):
        browser = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = urllib.parse.urlparse(self.path).path
                if path == "/commands":
                    try:
                        self._answer(200, "application/json", json.dumps([browser._commands.get(timeout=5)]).encode())
                    except queue.Empty:
                        self._answer(200, "application/json", b"[]")
                    return
                file = browser.folder / path.lstrip("/")
                if file.parent == browser.folder and file.is_file():
                    self._answer(200, browser.types.get(file.suffix, "text/plain"), file.read_bytes())
                else:
                    self._answer(404, "text/plain", b"")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                browser._add(json.loads(body))
                self._answer(200, "application/json", b"[]")

            def _answer(self, status, kind, body):
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *arguments):
                pass

        return Handler


def end_process_group(process):
    """A child was started as the leader of a group, so that its own children (Chromium has many) end with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
