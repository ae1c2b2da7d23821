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

from balancer import Balancer
from member import Member, Room, until
from peers import PeerRooms


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ip(*lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


class Wires:
    """The wires of a cluster whose nodes have network namespaces of their own: each one has a wire to the network of
    the cluster, where Redis is, and one to that of the clients."""

    def __init__(self):
        ip("link set lo up", *(line for kind, net in (("cluster", 77), ("clients", 78)) for line in (
            f"link add {kind} type bridge", f"addr add 10.{net}.0.1/24 dev {kind}", f"link set {kind} up")))
        for index in range(3):
            subprocess.run(["ip", "netns", "add", f"n{index}"], check=True)
            for kind, net in (("cluster", 77), ("clients", 78)):
                ip(f"link add {kind}{index} type veth peer name {kind} netns n{index}",
                   f"link set {kind}{index} master {kind} up")
                subprocess.run(
                    ["ip", "-n", f"n{index}", "-batch", "-"], text=True, check=True,
                    input=f"link set lo up\naddr add 10.{net}.0.1{index}/24 dev {kind}\nlink set {kind} up\n")

    def cut(self, index):
        """Nothing comes through between the node and the cluster. Nobody is told."""
        ip(f"link set cluster{index} nomaster")

    def heal(self, index):
        ip(f"link set cluster{index} master cluster")


class Cluster:
    def __init__(self, executable, folder, has_wires):
        self.executable, self.folder = executable, folder
        self.wires = Wires() if has_wires else None
        if has_wires:
            self.places = [(f"10.78.0.1{index}", 8080) for index in range(3)]
            self.links = [(f"10.77.0.1{index}", 7000) for index in range(3)]
        else:
            self.places = [("127.0.0.1", free_port()) for _ in range(3)]
            self.links = [("127.0.0.1", free_port()) for _ in range(3)]
        self.urls = [f"ws://{host}:{port}/" for host, port in self.places]
        self.nodes = [None] * 3
        self.redis = None

    def start_redis(self):
        place = ["--bind", "10.77.0.1", "--port", "6379", "--protected-mode", "no"] if self.wires else [
            "--port", "0", "--unixsocket", f"{self.folder}/redis.sock"]
        self.redis = subprocess.Popen(
            ["redis-server", *place, "--save", "", "--appendonly", "no", "--dir", self.folder],
            stdout=subprocess.DEVNULL)

    def start(self, index):
        log = open(f"{self.folder}/node{index}.log", "a")
        host, port = self.places[index]
        link_host, link_port = self.links[index]
        redis = "redis://10.77.0.1:6379" if self.wires else f"redis+unix://{self.folder}/redis.sock"
        node = subprocess.Popen(
            [*(["ip", "netns", "exec", f"n{index}"] if self.wires else []),
             self.executable, "serve", "--host", host, "--port", str(port), "--no-page", "--session-key-file",
             f"{self.folder}/session.key", "--redis", redis, "--node", f"n{index}", "--advertise",
             f"link://{link_host}:{link_port}", "--link-host", link_host, "--log-level", "debug"],
            stdout=subprocess.PIPE, stderr=log, text=True)
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
    def __init__(self, cluster, rooms, peers):
        self.cluster, self.rooms, self.peers = cluster, rooms, peers
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
        # Nothing is waited for: late consequences may show.
        await asyncio.sleep(1)
        times = await self.whole(time.monotonic(), 15)
        await until(lambda: not self.without_one_host(), 5)
        hosts = self.without_one_host()
        refused = [member.refused for room in self.rooms for member in room.members if member.refused]
        if len(times) != len(self.rooms) or hosts or refused:
            self.report(
                f"{name}, afterwards", False,
                f"{len(self.rooms) - len(times)} rooms not whole, {len(hosts)} without exactly one host: "
                f"{[room.hosts() for room in hosts[:3]]}, refused: {refused[:3]}")
        await self.data(name)

    def without_one_host(self):
        return [room for room in self.rooms if len(room.hosts()) != 1 or None in room.hosts()]

    async def data(self, name):
        """Nothing between real peers was lost, and nothing stopped, whatever happened to their servers."""
        faults, longest = await self.peers.settle()
        errors = [error for error in self.peers.errors if not error.get("retryable", True)]
        self.report(
            f"{name}, data", not faults and not errors and longest < 1,
            f"{self.peers.count} messages between {len(self.peers.peers)} peers, silent for {longest:.2f} s at most, "
            f"{len(faults)} lost, repeated or out of order {faults[:3]}{errors[:3]}")

    async def cut(self, seconds):
        """A node that neither Redis nor other nodes can be reached from, while clients reach it, and back."""
        # Rooms whose owner it is, since their first members come to it. The members of half of them try no other node:
        # those rooms are rebuilt elsewhere, and have two owners meanwhile.
        rooms = [
            Room(self.cluster.urls, f"cut {index}", 1, has_guests=False, is_pinned=index % 2 == 0)
            for index in range(12)]
        if not await until(lambda: all(room.members[0].is_joined for room in rooms), 10):
            missing = sum(not room.members[0].is_joined for room in rooms)
            self.report("a node cut off", False, f"{missing} of {len(rooms)} hosts did not join within 10 s")
        for room in rooms:
            room.add_guests()
        self.rooms += rooms
        await self.whole(time.monotonic(), 10)
        self.cluster.wires.cut(1)
        since = time.monotonic()
        await asyncio.sleep(seconds / 2)
        for room in self.rooms:
            room.probe()
        await asyncio.sleep(seconds / 2)
        apart = sum(not room.is_whole(since + seconds / 4) for room in self.rooms)
        back = time.monotonic()
        self.cluster.wires.heal(1)
        times = await self.whole(back, 10)
        # Once more, with a clean slate: what was sent 5 s after must arrive.
        await asyncio.sleep(max(0, back + 5 - time.monotonic()))
        late = time.monotonic()
        later = await self.whole(late, 2)
        hosts = [room.hosts() for room in self.without_one_host()]
        self.report(
            f"a node cut off for {seconds} s, and back", max(times, default=0) <= 5 and not hosts
            and apart >= 6 and len(times) == len(later) == len(self.rooms),
            f"{apart} rooms apart meanwhile; {len(times)} of {len(self.rooms)} rooms whole after "
            f"{max(times, default=0):.2f} s at most (limit 5 s), {len(later)} of {len(self.rooms)} after 5 s, "
            f"{len(hosts)} without exactly one host {hosts[:3]}")
        await self.settle("a node cut off")

    async def newcomers(self, url, seconds, times):
        """People who join all the while. Adds the times that they took to `times`; None: not within 5 s."""
        halls = [Member([url], f"hall {index}", "host", True) for index in range(5)]
        if not await until(lambda: all(hall.is_joined for hall in halls), 5):
            self.report("newcomers", False, f"{sum(not hall.is_joined for hall in halls)} halls not open within 5 s")
        end = time.monotonic() + seconds

        async def join(number):
            since = time.monotonic()
            member = Member([url], f"hall {number % len(halls)}", f"new {number}", False)
            is_in = await until(lambda: member.is_joined, 5)
            took = time.monotonic() - since if is_in else None
            has_left = not is_in or await member.leave()
            times.append((took, member.refused or (None if has_left else "did not leave within 5 s")))
            member.task.cancel()

        joining = []
        while time.monotonic() < end:
            joining.append(asyncio.create_task(join(len(joining))))
            await asyncio.sleep(0.05)
        await asyncio.gather(*joining)
        for hall in halls:
            hall.task.cancel()

    async def drain(self, url):
        """A node's rooms move; nobody who joins meanwhile fails."""
        node, times = self.cluster.nodes[2], []
        coming = asyncio.create_task(self.newcomers(url, 6, times))
        if not await until(lambda: len(times) >= 5, 10):
            self.report("a node drains, newcomers", False, f"only {len(times)} joined before it")
        # In the midst of their negotiations.
        fresh = PeerRooms(self.cluster.executable, url, 2, "fresh")
        try:
            starting = asyncio.create_task(fresh.start(subprocess.DEVNULL))
            if not await until(lambda: fresh.joins >= len(fresh.peers) / 2, 10):
                self.report("a node drains, peers that connect", False, f"only {fresh.joins} joined before it")
            await self.outage("a node drains", 6, lambda: node.send_signal(signal.SIGTERM))
            took = await starting
            faults, longest = await fresh.settle()
            self.report(
                "a node drains, peers that connect", took is not None and took < 10 and not faults
                and longest < 1,
                f"{len(fresh.peers)} peers connected within {took if took is None else round(took, 2)} s, "
                f"silent for {longest:.2f} s at most, {len(faults)} messages lost, repeated or out of order "
                f"{faults[:3]}")
        finally:
            fresh.stop()
        await coming
        failed = [refused for taken, refused in times if taken is None or refused]
        worst = max((taken for taken, _ in times if taken is not None), default=0)
        self.report(
            "a node drains, newcomers", not failed and worst < 5,
            f"{len(times)} joined within {worst:.2f} s, {len(failed)} failed {failed[:3]}")


async def main(options):
    with tempfile.TemporaryDirectory(prefix="room-cluster-") as folder:
        cluster = Cluster(options.room, folder, options.wires)
        balancer = Balancer(cluster.places)
        try:
            cluster.start_all()
            await balancer.start()
            peers = PeerRooms(options.room, balancer.url, options.peer_rooms)
            try:
                with open(f"{folder}/peers.log", "a") as log:
                    took = await peers.start(log)
                return await run(cluster, balancer, peers, took, options)
            finally:
                peers.stop()
                balancer.stop()
        finally:
            cluster.stop()
            if options.logs:
                os.makedirs(options.logs, exist_ok=True)
                for name in os.listdir(folder):
                    if name.endswith(".log"):
                        shutil.copy(f"{folder}/{name}", options.logs)


async def run(cluster, balancer, peers, took, options):
    rooms = [Room(cluster.urls, f"room {index}", index % 3) for index in range(options.rooms)]
    check = Check(cluster, rooms, peers)
    check.report(
        "real peers", took is not None,
        f"{len(peers.peers)} peers in {options.peer_rooms} rooms, connected within {took and round(took, 2)} s")
    times = await check.whole(time.monotonic(), 20)
    check.report(
        "three nodes", len(times) == len(rooms),
        f"{len(times)} of {len(rooms)} rooms whole, {max(times, default=0):.2f} s")
    if len(times) != len(rooms):
        return 1
    if options.only_cut:
        await check.cut(20)
        return 1 if check.failed else 0
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

    await check.drain(balancer.url)
    await asyncio.to_thread(nodes[2].wait, 20)
    cluster.start(2)
    await check.outage(
        "a node stopped", 20, lambda: nodes[0].send_signal(signal.SIGSTOP),
        lambda: nodes[0].send_signal(signal.SIGCONT), 20)
    if cluster.wires is None:
        print("SKIPPED  a node cut off: it needs root and network namespaces")
    else:
        await check.cut(20)
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
    parser.add_argument("--peer-rooms", type=int, default=3, help="rooms of three real peers each")
    parser.add_argument("--wires", action="store_true", help="each node has a network namespace of its own")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only-cut", action="store_true", help="nothing but the node that is cut off")
    parser.add_argument("--logs", help="a folder for the logs of the nodes")
    sys.exit(asyncio.run(main(parser.parse_args())))
