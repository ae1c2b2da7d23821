"""Headless Chromium (DevTools protocol over a pipe) and Firefox (WebDriver BiDi over a WebSocket), with one small
interface.

    browser = Chromium("a", folder, under=namespace.command)
    page = browser.open(url, print)         # every value that the page gives to `emit(text)` goes to print
    page.evaluate("1 + 1")                  # 2; promises are awaited
    browser.kill()

Every wait has a deadline and ends with a `LabError` of one sentence. A browser is a process group of its own. Flags and
preferences are those of a user where possible: nothing that keeps hidden tabs awake, nothing that reveals addresses.
"""

import base64
import fcntl
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from network import LabError

DEADLINE = 20.0
START_DEADLINE = 60.0
CREATE_DEADLINE = 8.0


def pipe():
    """A pipe whose descriptors are not those that Chromium wants to have."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high


class Browser:
    kind = ""

    def __init__(self, name, folder, under=lambda arguments: arguments, inside=lambda function: function(), flags=()):
        """`under` turns a command into one that runs in a namespace; `inside` runs a function there."""
        self.name = name
        self.pages = {}
        self.is_stopped = False
        self._inside = inside
        self._home = tempfile.mkdtemp(prefix=f"browser-{name}-")
        self._log = open(pathlib.Path(folder) / f"{name}.log", "ab")
        self._log_start = self._log.tell()
        self._replies = {}
        self._serial = 0
        self._lock = threading.Lock()
        self._outgoing = queue.SimpleQueue()
        self._has_ended = False
        self.process = None
        try:
            self._start(under, list(flags))
            for loop in (self._read, self._write):
                threading.Thread(target=loop, name=f"{name}-{loop.__name__}", daemon=True).start()
            self._initialize()
        except BaseException as error:
            self.kill()
            if isinstance(error, OSError):
                raise LabError(f"{name} did not start: {error}") from error
            raise

    def _spawn(self, command, **options):
        environment = {**os.environ, "HOME": self._home, "XDG_RUNTIME_DIR": self._home, "TMPDIR": self._home}
        environment |= {"MOZ_CRASHREPORTER_DISABLE": "1", "MOZ_HEADLESS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=self._log, start_new_session=True, env=environment, **options)

    # Commands

    def post(self, method, parameters=None, **fields):
        """Sends a command; nobody waits for its answer."""
        with self._lock:
            self._serial += 1
            number = self._serial
        self._outgoing.put(json.dumps({"id": number, "method": method, "params": parameters or {}, **fields}))
        return number

    def call(self, method, parameters=None, seconds=DEADLINE, **fields):
        """The result of a command."""
        answer = queue.SimpleQueue()
        with self._lock:
            self._serial += 1
            number = self._serial
            self._replies[number] = answer
        if self._has_ended:
            answer.put(None)
        self._outgoing.put(json.dumps({"id": number, "method": method, "params": parameters or {}, **fields}))
        try:
            message = answer.get(timeout=seconds)
        except queue.Empty as error:
            raise LabError(f"{self.name} did not answer {method} within {seconds:g} s") from error
        finally:
            with self._lock:
                self._replies.pop(number, None)
        if message is None:
            raise LabError(f"{self.name} ended before it answered {method}")
        if "error" in message:
            reason = message.get("message") or message["error"]
            raise LabError(f"{self.name} refused {method}: {reason}")
        return message["result"]

    def _take(self, text):
        message = json.loads(text)
        if message.get("id") is not None:
            with self._lock:
                waiter = self._replies.get(message["id"])
            if waiter:
                waiter.put(message)
        elif "method" in message:
            self._event(message)

    def _end(self):
        self._has_ended = True
        with self._lock:
            waiters = list(self._replies.values())
        for waiter in waiters:
            waiter.put(None)

    # The process

    def stop(self):
        """Stops all of its processes, as a laptop that sleeps does."""
        self.is_stopped = True
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)
        self.is_stopped = False

    def kill(self):
        self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait()
        self._outgoing.put(None)
        self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _signal(self, number):
        if self.process:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass


class Page:
    """A tab. `console` has what was written there: (seconds, level, text)."""

    def __init__(self, browser, id, take):
        self.browser = browser
        self.id = id
        self.take = take
        self.console = []
        self._loaded = threading.Event()

    def evaluate(self, expression, seconds=DEADLINE):
        """The value of an expression, through JSON; promises are awaited."""
        text = self._evaluate(f"(async () => JSON.stringify(await ({expression})) ?? 'null')()", seconds)
        return json.loads(text)

    def _log(self, level, text):
        self.console.append((time.monotonic(), level, text))

    def _wait_until_loaded(self):
        if not self._loaded.wait(DEADLINE):
            raise LabError(f"the page of {self.browser.name} did not load within {DEADLINE:g} s")


# Chromium

CHROMIUM_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--no-default-browser-check", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server",
    "--disable-features=Translate,MediaRouter,OptimizationHints", "--remote-debugging-pipe",
]
PLAIN_ADDRESSES = "--disable-features=Translate,MediaRouter,OptimizationHints,WebRtcHideLocalIpsWithMdns"


class Chromium(Browser):
    kind = "chromium"

    @staticmethod
    def executable():
        return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

    @staticmethod
    def plain_addresses():
        """The flags that show local addresses to other participants, and use the loopback interface."""
        return [PLAIN_ADDRESSES, "--allow-loopback-in-peer-connection"]

    @staticmethod
    def secure_origin(origin):
        """The flags that treat an http origin as one of https, which a page in production has."""
        return [f"--unsafely-treat-insecure-origin-as-secure={origin}"]

    def _start(self, under, flags):
        command_out, command_in = pipe()
        event_out, event_in = pipe()
        command = [self.executable(), *CHROMIUM_FLAGS, f"--user-data-dir={self._home}/profile", *flags, "about:blank"]
        # Chromium reads descriptor 3 and writes descriptor 4.
        shell = f'exec "$@" 3<&{command_out} 4>&{event_in} {command_out}<&- {event_in}>&-'
        try:
            self._spawn(
                ["bash", "-c", shell, "bash", *under(command)], stdout=self._log, pass_fds=(command_out, event_in))
        finally:
            os.close(command_out)
            os.close(event_in)
        self._commands, self._events = command_in, event_out
        self._sessions = {}

    def _initialize(self):
        version = self.call("Browser.getVersion", seconds=START_DEADLINE)
        self.version = version["product"].split("/")[-1]

    def _read(self):
        buffer = bytearray()
        while data := os.read(self._events, 1 << 16):
            buffer += data
            while (end := buffer.find(0)) >= 0:
                text = buffer[:end].decode()
                del buffer[:end + 1]
                self._take(text)
        os.close(self._events)
        self._end()

    def _write(self):
        while (text := self._outgoing.get()) is not None:
            data = memoryview(text.encode() + b"\0")
            try:
                while data:
                    data = data[os.write(self._commands, data):]
            except BrokenPipeError:
                pass
        os.close(self._commands)

    def _event(self, message):
        page = self._sessions.get(message.get("sessionId"))
        if page:
            page.event(message["method"], message["params"])

    def open(self, url, take=lambda text: None):
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._sessions[session] = ChromiumPage(self, target, session, take)
        page.open(url)
        return page


class ChromiumPage(Page):
    def __init__(self, browser, id, session, take):
        super().__init__(browser, id, take)
        self._session = session
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Runtime.addBinding", {"name": "emit"})

    def _call(self, method, parameters=None, seconds=DEADLINE):
        return self.browser.call(method, parameters, seconds, sessionId=self._session)

    def event(self, method, parameters):
        if method == "Runtime.bindingCalled":
            self.take(parameters["payload"])
        elif method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.consoleAPICalled":
            values = (argument.get("value", argument.get("description")) for argument in parameters["args"])
            self._log(parameters["type"], " ".join(str(value) for value in values))
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self._log("error", details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded":
            entry = parameters["entry"]
            self._log(entry["level"], f"{entry['text']} {entry.get('url', '')}".strip())

    def open(self, url):
        self._loaded.clear()
        result = self._call("Page.navigate", {"url": url})
        if result.get("errorText"):
            raise LabError(f"{self.browser.name} cannot open {url}: {result['errorText']}")
        self._wait_until_loaded()

    def reload(self):
        self._loaded.clear()
        self._call("Page.reload")
        self._wait_until_loaded()

    def back(self):
        history = self._call("Page.getNavigationHistory")
        entry = history["entries"][history["currentIndex"] - 1]["id"]
        self._call("Page.navigateToHistoryEntry", {"entryId": entry})

    def post(self, expression):
        """Evaluates an expression some time later; nobody waits for its value."""
        self.browser.post("Runtime.evaluate", {"expression": expression}, sessionId=self._session)

    def _evaluate(self, expression, seconds):
        result = self._call("Runtime.evaluate", {"expression": expression, "awaitPromise": True}, seconds)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            reason = details.get("exception", {}).get("description") or details["text"]
            raise LabError(f"the page of {self.browser.name}: {reason}")
        return result["result"]["value"]

    def activate(self):
        """Brings the tab to the front; the one that was there becomes hidden."""
        self.browser.call("Target.activateTarget", {"targetId": self.id})

    def freeze(self, is_frozen=True):
        state = "frozen" if is_frozen else "active"
        self._call("Page.setWebLifecycleState", {"state": state})

    def resize(self, width, height):
        self._call("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def screenshot(self, path):
        data = self._call("Page.captureScreenshot", {"format": "png"})["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.closeTarget", {"targetId": self.id})
        self.browser._sessions.pop(self._session, None)


# Firefox

FIREFOX_PREFERENCES = {
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "remote.active-protocols": 1,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
FIREFOX_PLAIN_ADDRESSES = {
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.peerconnection.ice.loopback": True,
}


class Firefox(Browser):
    kind = "firefox"

    @staticmethod
    def executable():
        return shutil.which("firefox-esr") or shutil.which("firefox")

    @staticmethod
    def plain_addresses():
        return list(FIREFOX_PLAIN_ADDRESSES.items())

    @staticmethod
    def secure_origin(origin):
        """The preferences that treat an http origin as one of https, which a page in production has."""
        return [("dom.securecontext.allowlist", origin.split("//")[1].split(":")[0])]

    def _start(self, under, flags):
        profile = pathlib.Path(self._home) / "profile"
        profile.mkdir()
        preferences = {**FIREFOX_PREFERENCES, **dict(flags)}
        lines = (f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in preferences.items())
        (profile / "user.js").write_text("".join(lines))
        command = [
            self.executable(), "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0",
            "about:blank"]
        self._spawn(under(command), stdout=subprocess.DEVNULL)
        port = self._wait_for_port(pathlib.Path(self._log.name))
        raw = self._inside(lambda: socket.create_connection(("127.0.0.1", port), DEADLINE))
        raw.settimeout(None)
        from websockets.sync.client import connect
        self._socket = connect(
            f"ws://127.0.0.1:{port}/session", sock=raw, max_size=None, compression=None, open_timeout=DEADLINE,
            ping_interval=None)

    def _wait_for_port(self, log):
        """Firefox says its port on standard error, which is the log."""
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            with open(log, "rb") as file:
                file.seek(self._log_start)
                text = file.read().decode(errors="replace")
            found = re.findall(r"WebDriver BiDi listening on ws://[^:\s]+:(\d+)", text)
            if found:
                return int(found[-1])
            if self.process.poll() is not None:
                raise LabError(f"{self.name} ended with status {self.process.returncode}: see {log}")
            time.sleep(0.05)
        raise LabError(f"{self.name} does not listen: see {log}")

    def _initialize(self):
        session = self.call("session.new", {"capabilities": {}}, START_DEADLINE)
        self.version = session["capabilities"]["browserVersion"]
        events = ["browsingContext.load", "log.entryAdded", "script.message"]
        self.call("session.subscribe", {"events": events})
        self.call("script.addPreloadScript", {
            "functionDeclaration": "(channel) => { window.emit = channel; }",
            "arguments": [{"type": "channel", "value": {"channel": "emit"}}],
        })
        self.pages = {}

    def _read(self):
        try:
            for text in self._socket:
                self._take(text)
        except Exception:  # The library raises its own errors and those of the socket; all mean the end.
            pass
        self._end()

    def _write(self):
        while (text := self._outgoing.get()) is not None:
            try:
                self._socket.send(text)
            except Exception:
                pass

    def _event(self, message):
        parameters = message["params"]
        context = parameters.get("context") or (parameters.get("source") or {}).get("context")
        page = self.pages.get(context)
        if page:
            page.event(message["method"], parameters)

    def open(self, url, take=lambda text: None):
        try:
            context = self.call("browsingContext.create", {"type": "tab"}, CREATE_DEADLINE)["context"]
        except LabError:
            # On a busy machine Firefox may miss the load of the empty page that it waits for; the next tab has its own.
            context = self.call("browsingContext.create", {"type": "tab"})["context"]
        page = self.pages[context] = FirefoxPage(self, context, take)
        page.open(url)
        return page


class FirefoxPage(Page):
    def event(self, method, parameters):
        if method == "script.message":
            self.take(parameters["data"]["value"])
        elif method == "browsingContext.load":
            self._loaded.set()
        elif method == "log.entryAdded":
            self._log({"warn": "warning"}.get(parameters["level"], parameters["level"]), parameters["text"] or "")

    def _call(self, method, parameters=None, seconds=DEADLINE):
        return self.browser.call(method, {"context": self.id, **(parameters or {})}, seconds)

    def open(self, url):
        self._loaded.clear()
        self._call("browsingContext.navigate", {"url": url, "wait": "none"})
        self._wait_until_loaded()

    def reload(self):
        self._loaded.clear()
        self._call("browsingContext.reload", {"wait": "none"})
        self._wait_until_loaded()

    def back(self):
        self._call("browsingContext.traverseHistory", {"delta": -1})

    def post(self, expression):
        """Evaluates an expression some time later; nobody waits for its value."""
        self.browser.post("script.evaluate", {
            "expression": expression, "target": {"context": self.id}, "awaitPromise": False})

    def _evaluate(self, expression, seconds):
        result = self.browser.call("script.evaluate", {
            "expression": expression, "target": {"context": self.id}, "awaitPromise": True}, seconds)
        if result["type"] != "success":
            raise LabError(f"the page of {self.browser.name}: {result['exceptionDetails']['text']}")
        return result["result"]["value"]

    def activate(self):
        """Brings the tab to the front; the one that was there becomes hidden."""
        self._call("browsingContext.activate")

    def resize(self, width, height):
        self._call("browsingContext.setViewport", {"viewport": {"width": width, "height": height}})

    def screenshot(self, path):
        data = self._call("browsingContext.captureScreenshot")["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        self._call("browsingContext.close")
        self.browser.pages.pop(self.id, None)


KINDS = {"chromium": Chromium, "firefox": Firefox}
