"""Whole servers that talk to each other: each a database of its own, and nodes of which the first serves
federation by TLS."""

import itertools
from pathlib import Path

import trustme

from . import process
from .cluster import Cluster
from .node import ALL_APIS


class Authority:
    """A certificate authority, and certificates for servers on the loopback interface."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.authority = trustme.CA()
        self.file = folder / "authority.pem"
        self.authority.cert_pem.write_to_path(str(self.file))
        certificate = self.authority.issue_cert("localhost", "127.0.0.1")
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self.key.write_bytes(certificate.private_key_pem.bytes())


class Server:
    """A homeserver. `localhost:<port>` is its name: others find it without DNS. With `links`, all nodes serve
    federation, behind a balancer at that port, whose links to other servers can be cut."""

    def __init__(self, cluster: Cluster, authority: Authority, start, count: int = 1, links=None, **settings):
        self.port = process.free_port()
        self.name = f"localhost:{self.port}"
        self.database = cluster.create_database()
        # The template is another server's.
        self.database.query("delete from matriarch.server")
        self.database.query("delete from matriarch.signing_keys")
        self.database.query("select matriarch.initialize(%s)", [self.name])
        self.nodes = []
        self.inner_ports = [process.free_port() for _ in range(count)] if links else [self.port]
        self.turn = itertools.count()
        if links:
            links.front(self)
        for number in range(count):
            client_port = process.free_port()
            listeners = [f'{{address = "127.0.0.1", port = {client_port}, apis = {ALL_APIS}}}']
            if number < len(self.inner_ports):
                tls = f'{{certificate = "{authority.certificate}", key = "{authority.key}"}}'
                listeners.append(
                    f'{{address = "127.0.0.1", port = {self.inner_ports[number]}, tls = {tls}, '
                    f'apis = ["federation"]}}'
                )
            options = {
                "MATRIARCH_SERVER_NAME": self.name,
                "MATRIARCH_LISTENERS": f"[{', '.join(listeners)}]",
                "MATRIARCH_FEDERATION__ENABLED": "true",
                "MATRIARCH_FEDERATION__CA_FILE": str(authority.file),
                "MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES": "true",
                **settings,
            }
            self.nodes.append(start(self.database, f"server{number}", client_port, **options))

    def ports(self) -> list[int]:
        """Where the nodes serve federation: another one first each time."""
        first = next(self.turn) % len(self.inner_ports)
        return self.inner_ports[first:] + self.inner_ports[:first]

    @property
    def node(self):
        return self.nodes[0]

    def register(self, prefix: str = "user", **options):
        """A client logged in as a new user of this server."""
        return self.node.register(prefix, **options)
