"""The participants of a test room: a page in a browser, and `room connect`, with the interface of the network lab's
`Peer`; and the server of the page."""

import base64
import functools
import http.server
import json
import pathlib
import signal
import socketserver
import threading
import time
import urllib.parse
import zlib

from drivers import DEADLINE
from network import PORT, SERVER, LabError
from processes import Peer

PAGE = pathlib.Path(__file__).parent / "page"
PAGE_PORT = 8081
ORIGIN = f"http://{SERVER}:{PAGE_PORT}"
TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript"}


@functools.lru_cache(maxsize=16)
def _block(size, seed, is_text):
    block = bytearray(size)
    state = seed
    for index in range(size):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        block[index] = 97 + (state >> 16) % 26 if is_text else state >> 16 & 0xFF
    return bytes(block)


def payload(size, seed=1, is_text=False):
    """The bytes that the page makes of the same numbers."""
    block = _block(min(size, 65521), seed, is_text)
    return (block * (size // len(block) + 1))[:size] if size else b""


class PageServer:
    """Serves the page of the test, and the client under `/client/`, to everybody in the lab."""

    def __init__(self, inside, client, address=SERVER, port=PAGE_PORT):
        folders = {"/client/": pathlib.Path(client), "/": PAGE}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = urllib.parse.urlparse(self.path).path
                prefix = next(prefix for prefix in folders if path.startswith(prefix))
                file = folders[prefix] / (path[len(prefix):] or "index.html")
                if file.parent != folders[prefix] or not file.is_file():
                    return self.send_error(404)
                data = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", TYPES.get(file.suffix, "text/plain") + "; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Cache-Control", "no-cache")
                self.end_headers()
                try:
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *arguments):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
            """Without the look-up of the host's name, which takes 10 s in a network without a resolver."""
            allow_reuse_address = daemon_threads = True

        self._server = inside(lambda: Server((address, port), Handler))
        self.url = f"http://{address}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Stays:
    """A participant that is admitted as a new one keeps its first id here, so that its messages are counted on."""

    # The ids of later stays, with the first one's: of all participants of all rooms.
    first_id = {}

    def take(self, event):
        if event.get("event") == "joined" and self.id:
            self.first_id[event["self"]] = self.id
            self.events.append(event)
            return
        if event.get("event") == "message":
            event["from"] = self.first_id.get(event["from"], event["from"])
        super().take(event)


class BrowserPeer(Stays, Peer):
    """A participant in a page. It has the events and commands of `room connect --json`."""

    def __init__(self, name, site, browser, url, room, folder, host=None, policy="all", server=None):
        self.name = name
        self.site = site
        self.browser = browser
        self.kind = browser.kind
        self.id = None
        self.events = []
        self.received = {}
        self.sent_count = 0
        self.changed = threading.Condition()
        self.has_ended = False
        # While it is true, nothing is sent.
        self.is_quiet = False
        self._folder = folder
        self.log_name = f"{folder.parent.name}/{folder.name}/{name}.console"
        # The page tells the wall clock; the lab's times are those of the monotonic clock.
        self._clock = time.time() - time.monotonic()
        parameters = {"server": server or f"ws://{SERVER}:{PORT}/", "room": room, "name": name, "policy": policy}
        if host:
            parameters["host"] = host
        self.opened_at = time.monotonic()
        self.page = browser.open(f"{url}?{urllib.parse.urlencode(parameters)}", self._arrived)

    def _arrived(self, text):
        event = json.loads(text)
        event["t"] -= self._clock
        for step in event.get("steps", ()):
            step["at"] -= self._clock
        with self.changed:
            self.take(event)
            self.changed.notify_all()

    def wait(self, what, matches, seconds=DEADLINE):
        try:
            return super().wait(what, matches, seconds)
        except LabError as error:
            complaints = self.complaints()
            raise LabError(f"{error}{' Its console: ' + complaints[-1] if complaints else ''}") from error

    def command(self, **fields):
        if self.browser.is_stopped or self.is_quiet:
            return False
        self.page.post(f"test.do({json.dumps(fields)})")
        return True

    def command_patiently(self, until, **fields):
        return self.command(**fields)

    def call(self, expression, seconds=DEADLINE):
        return self.page.evaluate(f"test.{expression}", seconds)

    def reload(self):
        """What this page has sent has arrived before; what others send meanwhile waits for the new page."""
        self.is_quiet = True
        self.call("room.flush()")
        began = time.monotonic()
        self.page.reload()
        self.is_quiet = False
        return began

    def signal(self, number):
        if number == signal.SIGSTOP:
            self.browser.stop()
        elif number == signal.SIGCONT:
            self.browser.resume()

    def stop(self):
        """Leaves the room and closes the tab."""
        for end in (lambda: self.call("room.leave({within: 1})", 5), self.page.close):
            try:
                end()
            except LabError:
                pass
        with open(self._folder / f"{self.name}.console", "a") as file:
            for at, level, text in self.page.console:
                file.write(f"{at:.3f} {level} {text}\n")
        write_events(self, self._folder)

    def complaints(self):
        """Errors and warnings of the console that nothing explains: a server that is down is reported by browsers."""
        return [text for _, level, text in self.page.console
                if level in ("error", "warning", "assert") and not is_network_error(text)]

    def arrivals(self, since=0):
        """What came as messages: (is text, bytes, checksum)."""
        return [(event["isText"], event["bytes"], event["sum"] if "sum" in event else
                 zlib.adler32(event["text"].encode())) for event in self.events[since:] if event["event"] == "message"]

    def send_payload(self, to, size, is_text, channel="reliable"):
        make = {"size": size, "isText": is_text}
        return self.call(f"send({json.dumps({'make': make, 'to': to, 'channel': channel})})")


class SwiftPeer(Stays, Peer):
    """`room connect`."""

    kind = "swift"

    def __init__(self, name, site, room_executable, folder, in_room, **options):
        self._folder = folder
        super().__init__(name, site, room_executable, folder, in_room=in_room, **options)

    def stop(self):
        super().stop()
        write_events(self, self._folder)

    def complaints(self):
        return []

    def arrivals(self, since=0):
        result = []
        for event in self.events[since:]:
            if event["event"] == "message":
                data = event["text"].encode() if "text" in event else base64.b64decode(event["data"])
                result.append(("text" in event, len(data), zlib.adler32(data)))
        return result

    def send_payload(self, to, size, is_text, channel="reliable"):
        data = payload(size, is_text=is_text)
        content = {"text": data.decode()} if is_text else {"data": base64.b64encode(data).decode()}
        self.command_patiently(time.monotonic() + DEADLINE, do="send", to=to, channel=channel, **content)


def is_network_error(text):
    """Browsers write a line for each connection that fails; a page cannot prevent it."""
    return any(part in text for part in (
        "WebSocket connection to", "Failed to load resource", "can’t establish a connection to the server",
        "was interrupted while the page was loading", "Cross-Origin Request Blocked", "NetworkError",
        "WebRTC: ICE failed"))


def write_events(peer, folder):
    with open(folder / f"{peer.name}.events", "a") as file:
        for event in peer.events:
            file.write(json.dumps(event) + "\n")
