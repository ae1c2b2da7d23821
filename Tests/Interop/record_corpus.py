"""Records the descriptions and candidates that browsers and stacks on this machine send, for the parser's tests.

    record_corpus.py [--only chromium,firefox,aiortc,libdatachannel,libwebrtc,pion]

Each makes pairs of peer connections in several configurations. The result goes to corpus.json beside this file, which
`CorpusTests.swift` reads; what is missing on this machine keeps its former entries, and the entries `by hand` are kept.
Run it with the interpreter that `run` has prepared.
"""

import argparse
import asyncio
import http.server
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

from processes import Browser, end_process_group

CORPUS = pathlib.Path(__file__).parent / "corpus.json"
PATIENCE = 60

PAGE = """<!doctype html><title>corpus</title><script>
const recorded = [];

async function gathered(connection) {
    if (connection.iceGatheringState === "complete") return;
    await new Promise((done) => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && done();
        setTimeout(done, 3000);
    });
}

async function record(what, options, prepare, after = async () => {}) {
    const [a, b] = [new RTCPeerConnection(options), new RTCPeerConnection(options)];
    const found = new Map([[a, []], [b, []]]);
    for (const [from, to] of [[a, b], [b, a]])
        from.onicecandidate = ({ candidate }) => {
            if (!candidate) return;
            found.get(from).push(candidate.toJSON());
            to.addIceCandidate(candidate).catch(() => {});
        };
    // The candidates of one configuration are like those of the others.
    const take = (connection, name = what) =>
        recorded.push({
            what: name, kind: connection === a ? "offer" : "answer", sdp: connection.localDescription.sdp,
            ...(what === "data" && name === what ? { candidates: found.get(connection) } : {}),
        });
    async function negotiate(offer) {
        await a.setLocalDescription(await a.createOffer(offer));
        take(a);
        await b.setRemoteDescription(a.localDescription);
        await b.setLocalDescription(await b.createAnswer());
        take(b);
        await a.setRemoteDescription(b.localDescription);
    }
    try {
        prepare(a);
        await negotiate();
        await gathered(a);
        await gathered(b);
        if (what.startsWith("data")) take(a, `${what}, gathered`);
        await after(a, negotiate);
    } catch (error) {
        recorded.push({ what, error: String(error) });
    }
    a.close();
    b.close();
}

const data = (connection) => connection.createDataChannel("room.reliable");
const media = (connection) => {
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
};
addEventListener("load", async () => {
    await record("data", {}, data);
    await record("data, and an ICE restart", {}, data, (a, negotiate) => negotiate({ iceRestart: true }));
    await record("audio, video and data", {}, (a) => { media(a); data(a); });
    const both = (a) => { data(a); media(a); };
    await record("data and audio, not bundled by policy", { bundlePolicy: "max-compat" }, both);
    await record("audio and data, bundled by policy", { bundlePolicy: "max-bundle" }, both);
    await record("data, then audio", {}, data, (a, negotiate) => { media(a); return negotiate(); });
    await record("audio stopped, then data", {}, media, async (a, negotiate) => {
        for (const transceiver of a.getTransceivers()) transceiver.stop();
        data(a);
        await negotiate();
    });
    await record("data, candidates in a pool", { iceCandidatePoolSize: 2 }, data);
    await record("data, relay only", { iceTransportPolicy: "relay" }, data);
    await fetch("/", { method: "POST", body: JSON.stringify({ agent: navigator.userAgent, recorded }) });
});
</script>"""


def in_browser(make_command):
    """The page's records from a browser; `make_command(url, home)` is its command line."""
    arrived, result = threading.Event(), {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = PAGE.encode() if self.path == "/" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            result.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tempfile.mkdtemp(prefix="corpus-")
    process = subprocess.Popen(
        make_command(f"http://127.0.0.1:{server.server_port}/", home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "HOME": home, "XDG_RUNTIME_DIR": home, "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
    )
    try:
        if not arrived.wait(PATIENCE):
            raise TimeoutError(f"nothing came within {PATIENCE} s")
    finally:
        end_process_group(process)
        server.shutdown()
        shutil.rmtree(home, ignore_errors=True)
    return result["recorded"]


def chromium(hides_addresses):
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    flags = [flag for flag in Browser.flags if not (hides_addresses and "Mdns" in flag)]
    version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    name = " ".join(version.split()[:2]) + (", addresses hidden" if hides_addresses else "")
    recorded = in_browser(lambda url, home: [executable, *flags, f"--user-data-dir={home}/profile", url])
    return name, only_new(recorded, hides_addresses)


def firefox(hides_addresses):
    executable = shutil.which("firefox-esr") or shutil.which("firefox")
    version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def command(url, home):
        preference = f'user_pref("media.peerconnection.ice.obfuscate_host_addresses", {str(hides_addresses).lower()});'
        (pathlib.Path(home) / "user.js").write_text(preference + "\n")
        return [executable, "--headless", "--no-remote", "--profile", home, url]

    name = version.split("\n")[-1] + (", addresses hidden" if hides_addresses else "")
    return name, only_new(in_browser(command), hides_addresses)


def only_new(recorded, hides_addresses):
    """Addresses are hidden alike in every configuration."""
    return [entry for entry in recorded if not hides_addresses or entry["what"].startswith("data") and "," not in
            entry["what"].removesuffix(", gathered")]


async def with_aiortc():
    from aiortc import RTCConfiguration, RTCPeerConnection

    recorded = []
    configurations = ("data", False, False), ("data, old form", True, False), ("audio and data", False, True)
    for what, is_old, has_audio in configurations:
        a, b = RTCPeerConnection(RTCConfiguration([])), RTCPeerConnection(RTCConfiguration([]))
        a._sctpLegacySdp = is_old
        if has_audio:
            a.addTransceiver("audio")
        a.createDataChannel("room.reliable")
        await a.setLocalDescription(await a.createOffer())
        recorded.append({"what": what, "kind": "offer", "sdp": a.localDescription.sdp})
        await b.setRemoteDescription(a.localDescription)
        await b.setLocalDescription(await b.createAnswer())
        recorded.append({"what": what, "kind": "answer", "sdp": b.localDescription.sdp})
        await a.close()
        await b.close()
    return recorded


async def with_libdatachannel():
    from pylibdatachannel import Description, DescriptionType, PeerConnection

    loop = asyncio.get_running_loop()

    def watch(connection, record):
        described = loop.create_future()
        done = loop.create_future()

        def take(description):
            described.done() or described.set_result(description.description)

        def candidate(value):
            record["candidates"].append({"candidate": value.candidate, "sdpMid": value.mid})

        connection.on_local_description(lambda value: loop.call_soon_threadsafe(take, value))
        connection.on_local_candidate(lambda value: loop.call_soon_threadsafe(candidate, value))
        connection.on_gathering_state_change(
            lambda state: "COMPLETE" in str(state).upper()
            and loop.call_soon_threadsafe(lambda: done.done() or done.set_result(None))
        )
        return described, done

    recorded = []
    offer = {"what": "data", "kind": "offer", "candidates": []}
    answer = {"what": "data", "kind": "answer", "candidates": []}
    a, b = PeerConnection(), PeerConnection()
    a_described, a_done = watch(a, offer)
    b_described, b_done = watch(b, answer)
    channel = a.create_data_channel("room.reliable")
    offer["sdp"] = await a_described
    b.set_remote_description(Description(offer["sdp"], DescriptionType.OFFER))
    answer["sdp"] = await b_described
    await asyncio.wait_for(asyncio.gather(a_done, b_done), 10)
    gathered = a.local_description() if callable(a.local_description) else a.local_description
    recorded += [offer, answer, {"what": "data, gathered", "kind": "offer", "sdp": gathered.description}]
    del channel
    for connection in (a, b):
        await loop.run_in_executor(None, connection.close)
    return recorded


async def with_libwebrtc():
    from webrtc import RTCOfferOptions, RTCPeerConnection

    recorded = []
    a, b = RTCPeerConnection(), RTCPeerConnection()
    found = {a: [], b: []}
    for connection in (a, b):
        connection.on("icecandidate", lambda event, connection=connection: take(connection, event.candidate))

    def take(connection, candidate):
        if candidate is not None and candidate.candidate:
            found[connection].append({"candidate": candidate.candidate, "sdpMid": candidate.sdp_mid,
                                      "usernameFragment": candidate.username_fragment})

    a.create_data_channel("room.reliable")
    for what in ("data", "data, and an ICE restart"):
        for source, target, kind in ((a, b, "offer"), (b, a, "answer")):
            restart = RTCOfferOptions(ice_restart=what != "data")
            description = await (source.create_offer(restart) if kind == "offer" else source.create_answer())
            await source.set_local_description(description)
            await target.set_remote_description(description)
            recorded.append({"what": what, "kind": kind, "sdp": description.sdp, "candidates": found[source]})
        await asyncio.sleep(1)
    a.close()
    b.close()
    return recorded


async def with_pion():
    from engine_pion import PROGRAM

    class Connection:
        """The program of the checks, whose candidates are kept."""

        @classmethod
        async def start(cls, *options):
            self = cls()
            pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
            self.process = await asyncio.create_subprocess_exec(PROGRAM, *options, **pipes)
            self.candidates, self.descriptions = [], asyncio.Queue()
            self.reader = asyncio.create_task(self.read())
            return self

        async def read(self):
            while line := await self.process.stdout.readline():
                event = json.loads(line)
                if event["event"] == "candidate":
                    self.candidates.append({"candidate": event["candidate"], "sdpMid": event["sdpMid"]})
                elif event["event"] == "description":
                    self.descriptions.put_nowait(event["sdp"])

        def command(self, do, **fields):
            self.process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")

        async def describe(self, do, **fields):
            self.command(do, **fields)
            return await asyncio.wait_for(self.descriptions.get(), 10)

        async def end(self):
            self.command("end")
            await self.process.wait()
            await self.reader

    recorded = []
    for what, options in ("data", []), ("data, gathered", ["-gathered"]):
        a, b = await Connection.start(*options), await Connection.start(*options)
        channels = [{"label": "room.reliable"}]
        for suffix, offer in ("", {"channels": channels}), (", and an ICE restart", {"restart": True}):
            offered = await a.describe("offer", **offer)
            answered = await b.describe("answer", sdp=offered)
            a.command("accept", sdp=answered)
            await asyncio.sleep(1)
            for connection, kind, sdp in (a, "offer", offered), (b, "answer", answered):
                entry = {"what": what + suffix, "kind": kind, "sdp": sdp}
                recorded.append(entry | ({} if options else {"candidates": connection.candidates}))
                connection.candidates = []
        await a.end()
        await b.end()
    query = ["dpkg-query", "-W", "-f", "${Version}", "golang-github-pion-webrtc.v3-dev"]
    version = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    return f"pion (webrtc {version})", recorded


def package(name, record):
    distribution = {"aiortc": "aiortc", "libdatachannel": "pylibdatachannel", "libwebrtc": "wrtc"}[name]
    return f"{name} ({distribution} {importlib.metadata.version(distribution)})", asyncio.run(record())


RECORDERS = {
    "chromium": [lambda: chromium(False), lambda: chromium(True)],
    "firefox": [lambda: firefox(False), lambda: firefox(True)],
    "aiortc": [lambda: package("aiortc", with_aiortc)],
    "libdatachannel": [lambda: package("libdatachannel", with_libdatachannel)],
    "libwebrtc": [lambda: package("libwebrtc", with_libwebrtc)],
    "pion": [lambda: asyncio.run(with_pion())],
}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", default=",".join(RECORDERS))
    entries = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
    for name in arguments.parse_args().only.split(","):
        try:
            new = []
            for recorder in RECORDERS[name]:
                source, recorded = recorder()
                for entry in recorded:
                    if "error" in entry:
                        print(f"{source}: {entry['what']}: {entry['error']}")
                    else:
                        new.append({"stack": name, "from": source, **entry})
        except (ImportError, OSError, TypeError, subprocess.SubprocessError) as error:
            print(f"SKIPPED: {name}: {type(error).__name__}: {error}")
            continue
        entries = [entry for entry in entries if entry["stack"] != name] + new
        print(f"{name}: {len(new)} descriptions")
    CORPUS.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
