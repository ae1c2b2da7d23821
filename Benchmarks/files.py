#!/usr/bin/env python3
"""Measures `room send` and `room receive` on loopback: the rate beside that of the streams just before and just after,
as the rate of a virtual machine changes within a minute, and the memory.

The files lie in memory (/dev/shm) unless --folder names another place: the disk is not the subject.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading


Row = collections.namedtuple("Row", "stream stream_cpu file file_cpu sender receiver")


def lines(process, found):
    """Collects the JSON objects that a process prints; `found` holds the events that somebody waits for."""
    events = []

    def read():
        for line in process.stdout:
            event = json.loads(line)
            events.append(event)
            if event["event"] in found:
                found[event["event"]].set()
        for event in found.values():
            event.set()

    thread = threading.Thread(target=read)
    thread.start()
    return events, thread


def start(*arguments, env=None):
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=env)


def reap(process):
    """Returns the exit status, and the largest resident memory in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss / 1000, usage.ru_utime + usage.ru_stime


def transfer(room, url, source, target):
    ready = {"code": threading.Event()}
    sender = start(room, "send", str(source), "--server", url, "--json")
    sent, reading = lines(sender, ready)
    ready["code"].wait()
    code = next(event["code"] for event in sent if event["event"] == "code")
    receiver = start(
        room, "receive", "--into", str(target), "--server", url, "--json", env=dict(os.environ, ROOM_CODE=code))
    received, other = lines(receiver, {})
    results = [reap(process) for process in (receiver, sender)]
    for thread in (reading, other):
        thread.join()
    if any(status != 0 for status, _, _ in results):
        sys.exit(f"a transfer failed: {results} {sent[-1:]} {received[-1:]}")
    done = next(event for event in received if event["event"] == "done")
    rate = done["bytes"] / done["seconds"] / 1e6
    return rate, results[1][1], results[0][1], sum(result[2] for result in results)


def stream(room, seconds=3):
    """Returns the rate of a stream, and the CPU of both sides for a GB."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        subprocess.run(
            [room, "bench", "--signaling", "foundation", "--peer", "webrtc-libnice", "--scenario", "stream",
             "--rounds", "1", "--duration", str(seconds), "--json", str(report)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        results = json.loads(report.read_text())["results"]
    metrics = next(result["metrics"] for result in results if result["scenario"] == "stream")
    return metrics["MB_s"], metrics["cpu_s_GB"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", help="the executable of a release build")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument(
        "--check", action="store_true", help="exit with 5 below 0.8 of the stream's rate or over 60 MB")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="room-files-", dir=options.folder))
    server = start(options.room, "serve", "--port", "0", "--session-key-file", str(folder / "key"))
    try:
        url = json.loads(server.stdout.readline())["url"]
        source = folder / "file"
        block = os.urandom(1_000_000)
        with source.open("wb") as file:
            for number in range(options.megabytes):
                file.write(number.to_bytes(8, "big") + block[8:])
        # A virtual machine gets memory from its host when it is first touched, which takes longer than the transfer.
        shutil.copyfile(source, folder / "touched")
        (folder / "touched").unlink()
        rows = []
        before, streamed = stream(options.room)
        for number in range(options.rounds):
            target = folder / f"target-{number}"
            rate, sender, receiver, seconds = transfer(options.room, url, source, target)
            shutil.rmtree(target)
            after, cpu = stream(options.room)
            row = Row(
                (before + after) / 2, (streamed + cpu) / 2, rate, seconds / options.megabytes * 1000, sender, receiver)
            before, streamed = after, cpu
            print(f"stream {row.stream:4.0f} MB/s, CPU {row.stream_cpu:4.1f} s/GB; file {row.file:4.0f} MB/s, "
                  f"CPU {row.file_cpu:4.1f} s/GB: {row.file / row.stream:.2f}; "
                  f"sender {row.sender:.0f} MB, receiver {row.receiver:.0f} MB", flush=True)
            rows.append(row)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
    ratio = statistics.median(row.file / row.stream for row in rows)
    memory = max(max(row.sender, row.receiver) for row in rows)
    print(f"median {statistics.median(row.file for row in rows):.0f} MB/s, {ratio:.2f} of the stream's rate; "
          f"at most {memory:.0f} MB of memory")
    if options.check and (ratio < 0.8 or memory > 60):
        sys.exit(5)


if __name__ == "__main__":
    main()
