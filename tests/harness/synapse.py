"""A Synapse: the homeserver that most others talk to, as a peer on the loopback interface."""

import json
import re
import secrets
import subprocess
import time
from pathlib import Path

import httpx

from . import process
from .client import Client
from .cluster import Cluster
from .server import Authority

REQUIREMENTS = process.ROOT / "tests/requirements-synapse.txt"
# Nothing that a test does is too fast for it.
NO_LIMIT = {"per_second": 10_000, "burst_count": 10_000}


def python() -> Path:
    """The Python that has Synapse installed."""
    command = [process.ROOT / "scripts/python-env", REQUIREMENTS]
    folder = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return Path(folder) / "bin/python"


class Synapse:
    """`127.0.0.1:<port>`, with SQLite, or in a database of `cluster`. Used like `harness.server.Server`."""

    def __init__(self, authority: Authority, folder: Path, cluster: Cluster | None = None, **settings):
        self.port, client_port = process.free_port(), process.free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.url = f"http://127.0.0.1:{client_port}"
        self.folder = folder / f"synapse-{self.port}"
        self.folder.mkdir()
        self.log = self.folder / "synapse.log"
        self.log.touch()
        self.process = None
        self.configuration = self.folder / "homeserver.yaml"
        # JSON is YAML, too.
        self.configuration.write_text(
            json.dumps({**self.defaults(authority, client_port, cluster), **settings})
        )

    def defaults(self, authority: Authority, client_port: int, cluster: Cluster | None) -> dict:
        logging = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
            "filters": {"context": {"()": "synapse.logging.context.LoggingContextFilter", "request": ""}},
            "handlers": {
                "console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["context"]}
            },
            "root": {"level": "INFO", "handlers": ["console"]},
        }
        (self.folder / "log.yaml").write_text(json.dumps(logging))
        listener = {"bind_addresses": ["127.0.0.1"], "type": "http"}
        return {
            "server_name": self.name,
            "public_baseurl": self.url,
            "listeners": [
                {**listener, "port": client_port, "resources": [{"names": ["client"]}]},
                {**listener, "port": self.port, "tls": True, "resources": [{"names": ["federation"]}]},
            ],
            "tls_certificate_path": str(authority.certificate),
            "tls_private_key_path": str(authority.key),
            "federation_custom_ca_list": [str(authority.file)],
            "database": self.database(cluster),
            "log_config": str(self.folder / "log.yaml"),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(self.folder / "signing.key"),
            "macaroon_secret_key": secrets.token_hex(),
            "trusted_key_servers": [],
            "report_stats": False,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "allow_public_rooms_over_federation": True,
            "allow_device_name_lookup_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "bcrypt_rounds": 4,
            "rc_message": NO_LIMIT,
            "rc_registration": NO_LIMIT,
            "rc_login": {"address": NO_LIMIT, "account": NO_LIMIT, "failed_attempts": NO_LIMIT},
            "rc_joins": {"local": NO_LIMIT, "remote": NO_LIMIT},
            "rc_joins_per_room": NO_LIMIT,
            "rc_invites": {"per_room": NO_LIMIT, "per_user": NO_LIMIT, "per_issuer": NO_LIMIT},
            "rc_room_creation": NO_LIMIT,
            "rc_presence": {"per_user": NO_LIMIT},
            "rc_key_requests": NO_LIMIT,
            "rc_federation": {
                "window_size": 1000,
                "sleep_limit": 10_000,
                "sleep_delay": 0,
                "reject_limit": 10_000,
                "concurrent": 100,
            },
            # Peers that a test stops and starts are tried again at once. In milliseconds.
            "federation": {
                "destination_min_retry_interval": 200,
                "destination_retry_multiplier": 2,
                "destination_max_retry_interval": 1000,
            },
        }

    def start(self, timeout: float = 60) -> "Synapse":
        """Starts the process and waits until it answers."""
        command = [python(), "-m", "synapse.app.homeserver", "--config-path", self.configuration]
        generated = subprocess.run(
            [*command, "--generate-keys"], cwd=self.folder, capture_output=True, text=True
        )
        if generated.returncode != 0:
            raise RuntimeError(f"Synapse made no keys:\n{generated.stdout}{generated.stderr}")
        self.process = process.spawn(command, log=self.log, cwd=self.folder)
        deadline = time.monotonic() + timeout
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Synapse did not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        return self

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
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

    def complaints(self) -> list[str]:
        """What it logged of its own errors."""
        return [
            line
            for line in self.log.read_text(errors="replace").splitlines()
            if re.search(r" (ERROR|CRITICAL) ", line)
        ]

    def database(self, cluster: Cluster | None) -> dict:
        """The configuration of its database."""
        if cluster is None:
            return {"name": "sqlite3", "args": {"database": str(self.folder / "synapse.db")}}
        self.database_name = f"synapse_{self.port}"
        cluster.execute("create database {} template template0 locale 'C'", self.database_name)
        arguments = {
            "user": "postgres",
            "dbname": self.database_name,
            "host": str(cluster.socket_folder),
            "port": cluster.port,
        }
        return {"name": "psycopg2", "args": {**arguments, "cp_min": 5, "cp_max": 20}}
