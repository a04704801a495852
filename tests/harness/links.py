"""The network between homeservers of the tests: a load balancer in front of each, and links that can be cut
and mended.

Who connects is found out by the process that holds the other end of the connection, since all are on one
address."""

import asyncio
import threading
from pathlib import Path


def process_of(port: int, pids: list[int]) -> int | None:
    """Which of these processes has the connection from this port of the loopback interface."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port and fields[9] != "0":
            break
    else:
        return None
    for pid in pids:
        try:
            if any(
                str(file.readlink()) == f"socket:[{fields[9]}]" for file in Path(f"/proc/{pid}/fd").iterdir()
            ):
                return pid
        except OSError:
            continue
    return None


class Links:
    """All links between servers. None is cut at first."""

    def __init__(self):
        self.servers = {}
        self.separated: dict[frozenset, bool] = {}
        self.streams: dict[asyncio.StreamWriter, frozenset] = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def close(self):
        self.heal()
        self.loop.call_soon_threadsafe(self.loop.stop)

    def front(self, server):
        """Listens at the port of a server's name, and hands connections on to its nodes in turn."""
        self.servers[server.name] = server
        accept = lambda reader, writer: self.accept(server, reader, writer)
        self.run(asyncio.start_server(accept, "127.0.0.1", server.port))

    def cut(self, *groups, silently: bool = False):
        """Parts groups of servers from each other. Connections between them end or, `silently`, bring nothing
        more."""
        names = [[server.name for server in group] for group in groups]
        pairs = {
            frozenset((one, other)): silently
            for number, group in enumerate(names)
            for others in names[number + 1 :]
            for one in group
            for other in others
        }
        self.run(self.change(pairs, set() if silently else set(pairs)))

    def heal(self):
        """Mends all links. What was cut silently is broken off."""
        self.run(self.change({}, set(self.separated)))

    async def change(self, separated: dict[frozenset, bool], ending: set[frozenset]):
        self.separated = separated
        for writer, pair in list(self.streams.items()):
            if pair in ending:
                writer.transport.abort()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def accept(self, server, reader, writer):
        client = self.client(writer.get_extra_info("peername")[1])
        pair = frozenset((client, server.name))
        self.streams[writer] = pair
        try:
            if pair in self.separated:
                if self.separated[pair]:
                    await reader.read(-1)
                return
            for port in server.ports():
                try:
                    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    continue
                self.streams[inner_writer] = pair
                await asyncio.gather(
                    self.pump(pair, reader, inner_writer), self.pump(pair, inner_reader, writer)
                )
                break
        except OSError:
            pass
        finally:
            self.streams.pop(writer, None)
            writer.transport.abort()

    async def pump(self, pair, reader, writer):
        try:
            while data := await reader.read(65536):
                if pair not in self.separated:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            self.streams.pop(writer, None)
            writer.close()

    def client(self, port: int) -> str | None:
        """The name of the server that connects from a port."""
        pids = {node.process.pid: name for name, server in self.servers.items() for node in server.nodes}
        return pids.get(process_of(port, list(pids)))
