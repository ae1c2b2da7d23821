"""Kills, stops and cuts off the parts of a cluster in turn, and measures how long its rooms are not whole."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from member import Room


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    def __init__(self, executable, folder):
        self.executable, self.folder = executable, folder
        self.ports = [free_port() for _ in range(3)]
        self.links = [free_port() for _ in range(3)]
        self.urls = [f"ws://127.0.0.1:{port}/" for port in self.ports]
        self.nodes = [None] * 3
        self.redis = None

    def start_redis(self):
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", f"{self.folder}/redis.sock", "--save", "", "--appendonly",
             "no", "--dir", self.folder], stdout=subprocess.DEVNULL)

    def start(self, index):
        log = open(f"{self.folder}/node{index}.log", "a")
        node = subprocess.Popen(
            [self.executable, "serve", "--port", str(self.ports[index]), "--no-page", "--session-key-file",
             f"{self.folder}/session.key", "--redis", f"redis+unix://{self.folder}/redis.sock", "--node", f"n{index}",
             "--advertise", f"link://127.0.0.1:{self.links[index]}", "--link-host", "127.0.0.1", "--log-level",
             "debug"], stdout=subprocess.PIPE, stderr=log, text=True)
        event = json.loads(node.stdout.readline() or "{}")
        if event.get("event") != "listening":
            raise SystemExit(f"node {index} did not start: see {log.name}\n" + open(log.name).read()[-2000:])
        self.nodes[index] = node

    def start_all(self):
        self.start_redis()
        for index in range(3):
            self.start(index)

    def stop(self):
        for process in [*self.nodes, self.redis]:
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


class Check:
    def __init__(self, cluster, rooms):
        self.cluster, self.rooms = cluster, rooms
        self.failed = 0

    async def whole(self, since, limit):
        """Waits until all rooms are whole again. Returns the seconds since `since` for each of them."""
        times = {}
        while len(times) < len(self.rooms) and time.monotonic() - since < limit:
            for index, room in enumerate(self.rooms):
                if index in times:
                    continue
                if room.is_whole(since):
                    times[index] = time.monotonic() - since
                else:
                    room.probe()
            await asyncio.sleep(0.1)
        return list(times.values())

    def report(self, name, passed, text):
        self.failed += not passed
        print(f"{'passed' if passed else 'FAILED'}  {name}: {text}", flush=True)

    async def outage(self, name, limit, begin, end=None, seconds=0):
        losses = sum(member.losses for room in self.rooms for member in room.members)
        since = time.monotonic()
        begin()
        task = asyncio.create_task(self.end_later(end, seconds))
        times = await self.whole(since, limit + 10)
        await task
        lost = sum(member.losses for room in self.rooms for member in room.members) - losses
        worst = max(times, default=0)
        self.report(
            name, len(times) == len(self.rooms) and worst <= limit,
            f"{len(times)} of {len(self.rooms)} rooms whole again after {worst:.2f} s at most (limit {limit:g} s), "
            f"{lost} connections lost")
        await self.settle(name)
        return lost

    async def end_later(self, end, seconds):
        if end is not None:
            await asyncio.sleep(seconds)
            end()

    async def settle(self, name):
        """Afterwards everything is as before: whole rooms, one host each within 5 s, nobody refused."""
        await asyncio.sleep(1)
        times = await self.whole(time.monotonic(), 15)
        end = time.monotonic() + 5
        hosts = self.rooms
        while hosts and time.monotonic() < end:
            hosts = [room for room in self.rooms if len(room.hosts()) != 1 or None in room.hosts()]
            await asyncio.sleep(0.1)
        refused = [member.refused for room in self.rooms for member in room.members if member.refused]
        if len(times) != len(self.rooms) or hosts or refused:
            self.report(
                f"{name}, afterwards", False,
                f"{len(self.rooms) - len(times)} rooms not whole, {len(hosts)} without exactly one host: "
                f"{[room.hosts() for room in hosts[:3]]}, refused: {refused[:3]}")


async def main(options):
    with tempfile.TemporaryDirectory(prefix="room-cluster-") as folder:
        cluster = Cluster(options.room, folder)
        try:
            cluster.start_all()
            return await run(cluster, options)
        finally:
            cluster.stop()
            if options.logs:
                os.makedirs(options.logs, exist_ok=True)
                for name in os.listdir(folder):
                    if name.endswith(".log"):
                        shutil.copy(f"{folder}/{name}", options.logs)


async def run(cluster, options):
    rooms = [Room(cluster.urls, f"room {index}", index % 3) for index in range(options.rooms)]
    check = Check(cluster, rooms)
    times = await check.whole(time.monotonic(), 20)
    check.report(
        "three nodes", len(times) == len(rooms),
        f"{len(times)} of {len(rooms)} rooms whole, {max(times, default=0):.2f} s")
    if len(times) != len(rooms):
        return 1
    nodes = cluster.nodes

    def kill(index):
        def action():
            nodes[index].kill()
            nodes[index].wait()
        return action

    await check.outage("a node killed", 4, kill(0))
    cluster.start(0)
    await check.outage("a node killed, and back", 4, kill(1), lambda: cluster.start(1), 1)

    def pause_redis():
        cluster.redis.send_signal(signal.SIGSTOP)

    seconds = 20 if options.long else 6
    lost = await check.outage(
        f"Redis stopped for {seconds} s", 1, pause_redis, lambda: cluster.redis.send_signal(signal.SIGCONT), seconds)
    check.report("Redis stopped, unnoticed", lost == 0, f"{lost} connections lost")

    def kill_redis():
        cluster.redis.kill()
        cluster.redis.wait()

    seconds = 20 if options.long else 4
    lost = await check.outage(
        f"Redis killed for {seconds} s, empty afterwards", 1, kill_redis, cluster.start_redis, seconds)
    check.report("Redis killed, unnoticed", lost == 0, f"{lost} connections lost")

    await check.outage("a node drains", 6, lambda: nodes[2].send_signal(signal.SIGTERM))
    await asyncio.to_thread(nodes[2].wait, 20)
    cluster.start(2)
    await check.outage(
        "a node stopped", 20, lambda: nodes[0].send_signal(signal.SIGSTOP),
        lambda: nodes[0].send_signal(signal.SIGCONT), 20)
    rejoins = sum(member.rejoins for room in rooms for member in room.members)
    print(f"{rejoins} joins and rejoins of {sum(len(room.members) for room in rooms)} members")
    for room in rooms:
        room.stop()
    print(f"{check.failed} failed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--room", required=True)
    parser.add_argument("--rooms", type=int, default=30)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--logs", help="a folder for the logs of the nodes")
    sys.exit(asyncio.run(main(parser.parse_args())))
