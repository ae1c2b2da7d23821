"""A balancer in front of the nodes: connections go in turn to the nodes whose `/readyz` says that they are ready."""

import asyncio

from member import until


class Balancer:
    def __init__(self, nodes):
        """`nodes` are hosts and ports."""
        self.nodes = nodes
        self.ready = set()
        self.next = 0
        self.tasks = set()

    async def start(self):
        """Returns when all nodes are ready."""
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"
        self.checks = [asyncio.create_task(self.check(node)) for node in self.nodes]
        if not await until(lambda: len(self.ready) == len(self.nodes), 10):
            raise SystemExit(f"only {sorted(self.ready)} of {self.nodes} are ready within 10 s")

    def stop(self):
        self.server.close()
        for task in [*self.checks, *self.tasks]:
            task.cancel()

    async def check(self, node):
        while True:
            is_ready = False
            try:
                is_ready = await asyncio.wait_for(self.is_ready(node), 1)
            except (OSError, asyncio.TimeoutError):
                pass
            (self.ready.add if is_ready else self.ready.discard)(node)
            await asyncio.sleep(0.2)

    async def is_ready(self, node):
        reader, writer = await asyncio.open_connection(*node)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        finally:
            writer.close()

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self.carry(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            self.tasks.discard(task)

    async def carry(self, reader, writer):
        self.next += 1
        turned = self.nodes[self.next % len(self.nodes):] + self.nodes[:self.next % len(self.nodes)]
        for node in [node for node in turned if node in self.ready]:
            try:
                other_reader, other_writer = await asyncio.wait_for(asyncio.open_connection(*node), 1)
            except (OSError, asyncio.TimeoutError):
                continue
            ways = [asyncio.create_task(way) for way in (pipe(reader, other_writer), pipe(other_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                other_writer.close()
            return


async def pipe(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
