"""A throw-away PostgreSQL with the extension, and databases copied from one migrated template."""

import itertools
import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg import sql

from . import process

SERVER_NAME = "test.example"
TEMPLATE = "matriarch_template"
ROLES = ("matriarch_owner", "matriarch_api", "matriarch_readonly", "matriarch_admin")


class Cluster:
    """One PostgreSQL server. `durable` keeps fsync and full_page_writes on, as benchmarks need."""

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None):
        self.folder = process.Folder()
        self.log = self.folder.path / "postgres.log"
        self.log.touch()
        self.user = process.unprivileged()
        self.port = process.free_port()
        self.postmaster = None
        self.numbers = itertools.count(1)
        tree = subprocess.run(
            [process.ROOT / "scripts/postgres-tree", process.profile(), self.folder.path / "pg"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.bin = Path(tree.stdout.strip())
        self.data = self.folder.owned("data")
        self.socket_folder = self.folder.owned("s")
        self.socket_folder.chmod(0o755)
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0777",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "log_line_prefix": "%m [%p] %u@%d ",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            **(settings or {}),
        }
        self.initdb()

    def initdb(self):
        command = [
            self.bin / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        # A locale that sorts unlike bytes, where there is one, would be better still; C.UTF-8 is everywhere.
        finished = process.spawn(
            [*command, "--locale", "C.UTF-8"], log=self.log, user=self.user, cwd="/"
        ).wait()
        if finished != 0:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")

    def start(self):
        """Starts the server and waits until it answers."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        self.postmaster = process.spawn(
            [self.bin / "postgres", "-D", self.data, *options],
            log=self.log,
            user=self.user,
            stop=signal.SIGQUIT,
            cwd="/",
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError as error:
                if self.postmaster.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()}") from error
                time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """Stops the server: SIGINT ends sessions in order, SIGQUIT at once, as a crash would."""
        if self.postmaster is not None:
            self.postmaster.send_signal(how)
            self.postmaster.wait(timeout=60)
            self.postmaster = None

    def restart(self, how=signal.SIGINT):
        self.stop(how)
        self.start()

    def remove(self):
        self.stop()
        self.folder.remove()

    def url(self, database: str, user: str = "postgres") -> str:
        """A connection URL over the Unix socket; its folder is percent-encoded as the host."""
        host = str(self.socket_folder).replace("/", "%2F")
        return f"postgres://{user}@{host}:{self.port}/{database}"

    def connect(self, database: str, user: str = "postgres", **options) -> psycopg.Connection:
        options.setdefault("autocommit", True)
        return psycopg.connect(self.url(database, user), **options)

    def make_template(self):
        """Creates the extension, migrates, and lets each role log in."""
        self.execute("create database {}", TEMPLATE)
        with self.connect(TEMPLATE) as connection:
            connection.execute("create extension matriarch")
        Database(self, TEMPLATE).migrate()
        with self.connect(TEMPLATE) as connection:
            for role in ROLES:
                if connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
                    connection.execute(sql.SQL("alter role {} login").format(sql.Identifier(role)))
        self.execute("alter database {} with allow_connections false is_template true", TEMPLATE)

    def create_database(self) -> "Database":
        """A new database, already migrated."""
        name = f"matriarch_{next(self.numbers)}"
        self.execute("create database {} template {}", name, TEMPLATE)
        return Database(self, name)

    def execute(self, statement: str, *names: str):
        """Runs a statement that cannot be in a transaction; `{}` stand for the names, quoted."""
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class Database:
    """One database of a cluster."""

    def __init__(self, cluster: Cluster, name: str):
        self.cluster = cluster
        self.name = name

    def url(self, user: str = "postgres") -> str:
        return self.cluster.url(self.name, user)

    def connect(self, user: str = "postgres", **options) -> psycopg.Connection:
        """A connection as a role; autocommit unless said otherwise."""
        return self.cluster.connect(self.name, user, **options)

    def query(self, statement, parameters=None, user: str = "postgres") -> list[tuple]:
        """The rows of one statement."""
        with self.connect(user) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def has_lock_waiter(self) -> bool:
        """Whether a session waits for a lock that another one holds."""
        statement = """
            select exists (
                select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock')"""
        return self.query(statement) == [(True,)]

    def environment(self, user: str = "postgres") -> dict[str, str]:
        """The configuration that points `matriarch` at this database."""
        return {
            "PATH": os.environ["PATH"],
            "MATRIARCH_SERVER_NAME": SERVER_NAME,
            "MATRIARCH_DATABASE__URL": self.url(user),
        }

    def migrate(self):
        """Runs `matriarch migrate`."""
        finished = subprocess.run(
            [process.binary(), "migrate"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if finished.returncode != 0:
            raise RuntimeError(f"`matriarch migrate` failed:\n{finished.stdout}")

    def drop(self):
        self.cluster.execute("drop database {} with (force)", self.name)
