"""A Dendrite, another homeserver, as a peer on the loopback interface. Its binaries are the caller's."""

import json
import subprocess
import time
from pathlib import Path

import httpx

from . import process
from .client import Client
from .server import Authority


class Dendrite:
    """`127.0.0.1:<port>`, with SQLite. Used like `harness.server.Server`."""

    def __init__(self, authority: Authority, folder: Path, binaries: str):
        self.authority, self.binaries = authority, Path(binaries)
        self.port, client_port = process.free_port(), process.free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.url = f"http://127.0.0.1:{client_port}"
        self.client_port = client_port
        self.folder = folder / f"dendrite-{self.port}"
        self.folder.mkdir()
        self.log = self.folder / "dendrite.log"
        self.log.touch()
        self.process = None
        # JSON is YAML, too.
        (self.folder / "dendrite.yaml").write_text(json.dumps(self.configuration()))

    def configuration(self) -> dict:
        return {
            "version": 2,
            "global": {
                "server_name": self.name,
                "private_key": str(self.folder / "matrix_key.pem"),
                "database": {"connection_string": ""},
                "disable_federation": False,
                "jetstream": {"in_memory": True, "storage_path": str(self.folder)},
                "trusted_third_party_id_servers": [],
            },
            "client_api": {
                "registration_disabled": False,
                "rate_limiting": {"enabled": False},
            },
            "federation_api": {
                "disable_tls_validation": True,
                "allow_networks": ["127.0.0.0/8"],
                "deny_networks": [],
                "key_perspectives": [],
                "database": {"connection_string": f"file:{self.folder}/federationapi.db"},
            },
            "key_server": {"database": {"connection_string": f"file:{self.folder}/keyserver.db"}},
            "media_api": {
                "database": {"connection_string": f"file:{self.folder}/mediaapi.db"},
                "base_path": str(self.folder / "media"),
            },
            "mscs": {"database": {"connection_string": f"file:{self.folder}/mscs.db"}},
            "relay_api": {"database": {"connection_string": f"file:{self.folder}/relayapi.db"}},
            "room_server": {"database": {"connection_string": f"file:{self.folder}/roomserver.db"}},
            "sync_api": {"database": {"connection_string": f"file:{self.folder}/syncapi.db"}},
            "user_api": {
                "account_database": {"connection_string": f"file:{self.folder}/userapi.db"},
                "bcrypt_cost": 4,
            },
            "logging": [{"type": "std", "level": "info"}],
        }

    def start(self, timeout: float = 60) -> "Dendrite":
        """Starts the process and waits until it answers."""
        key = self.folder / "matrix_key.pem"
        subprocess.run([self.binaries / "generate-keys", "--private-key", key], check=True)
        command = [
            self.binaries / "dendrite", "--config", self.folder / "dendrite.yaml",
            "--http-bind-address", f"127.0.0.1:{self.client_port}",
            "--https-bind-address", f"127.0.0.1:{self.port}",
            "--tls-cert", self.authority.certificate, "--tls-key", self.authority.key,
            "--really-enable-open-registration",
        ]  # fmt: skip
        self.process = process.spawn(command, log=self.log, cwd=self.folder)
        deadline = time.monotonic() + timeout
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Dendrite did not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        return self

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/_matrix/client/versions", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def register(self, prefix: str = "user", **options) -> Client:
        """A client logged in as a new user of this server."""
        return Client(self.url).register(prefix, **options)
