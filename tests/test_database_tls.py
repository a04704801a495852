"""TLS to PostgreSQL: `sslmode` and its companions, in every connection of the program."""

import os
import socket
import subprocess

import pytest
import trustme

from harness import process
from harness.cluster import Cluster
from harness.waiting import eventually

HBA = """\
local all all trust
hostssl all matriarch_api 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 trust
"""


class Tls:
    """A PostgreSQL at `localhost` that refuses connections without TLS, and asks `matriarch_api` for a
    certificate."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = trustme.CA()
        self.root = self.write("root.pem", self.authority.cert_pem)
        self.other_root = self.write("other.pem", trustme.CA().cert_pem)
        client = self.authority.issue_cert(common_name="matriarch_api")
        self.certificate = self.write("client.pem", *client.cert_chain_pems)
        self.key = self.write("client.key", client.private_key_pem)

        self.cluster = Cluster()
        self.files = self.cluster.folder.owned("tls")
        server = self.authority.issue_cert("localhost")
        self.serve(b"".join(blob.bytes() for blob in server.cert_chain_pems), server.private_key_pem.bytes())
        self.put("ca.pem", self.authority.cert_pem.bytes())
        self.cluster.settings |= {
            "ssl": "on",
            "ssl_cert_file": str(self.files / "server.pem"),
            "ssl_key_file": str(self.files / "server.key"),
            "ssl_ca_file": str(self.files / "ca.pem"),
        }
        (self.cluster.data / "pg_hba.conf").write_text(HBA)
        self.cluster.start()
        self.cluster.make_template()
        self.database = self.cluster.create_database()

    def write(self, name, *blobs):
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    def put(self, name, content):
        """Writes a file that PostgreSQL reads."""
        path = self.files / name
        path.write_bytes(content)
        path.chmod(0o600)
        if user := self.cluster.user:
            os.chown(path, user.pw_uid, user.pw_gid)

    def serve(self, certificate, key):
        """The certificate of connections from the next reload on."""
        self.put("server.pem", certificate)
        self.put("server.key", key)

    def url(self, parameters="", host="localhost", user="postgres"):
        port = self.cluster.port
        return f"postgres://{user}@{host}:{port}/{self.database.name}?{parameters}"

    def identity(self):
        return f"&sslcert={self.certificate}&sslkey={self.key}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    tls = Tls(tmp_path_factory.mktemp("tls"))
    yield tls
    tls.cluster.remove()


def run(url, *arguments, **environment):
    """Runs `matriarch` on a database. A command that cannot work must say so at once, and not wait."""
    return subprocess.run(
        [process.binary(), *arguments],
        env={
            "PATH": os.environ["PATH"],
            "MATRIARCH_SERVER_NAME": "test.example",
            "MATRIARCH_DATABASE__URL": url,
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )


def succeeds(url):
    finished = run(url, "migrate")
    assert finished.returncode == 0, finished.stderr


def fails(url, *told):
    finished = run(url, "migrate")
    assert finished.returncode == 1, finished.stdout
    for words in told:
        assert words in finished.stderr, finished.stderr


def test_a_server_of_the_right_name_and_authority_is_trusted(tls):
    succeeds(tls.url(f"sslmode=verify-full&sslrootcert={tls.root}"))
    succeeds(
        f"host=localhost port={tls.cluster.port} user=postgres dbname={tls.database.name} "
        f"sslmode=verify-full sslrootcert='{tls.root}'"
    )


def test_a_server_of_another_name_is_not(tls):
    fails(
        tls.url(f"sslmode=verify-full&sslrootcert={tls.root}", host="127.0.0.1"),
        "the database's certificate is for another name",
        "localhost",
    )
    succeeds(tls.url(f"sslmode=verify-ca&sslrootcert={tls.root}", host="127.0.0.1"))


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require"])
def test_a_server_of_another_authority_is_not(tls, mode):
    fails(tls.url(f"sslmode={mode}&sslrootcert={tls.other_root}"), "no authority of `sslrootcert` signed")


def test_the_authorities_of_the_system_do_not_sign_for_strangers(tls):
    url = tls.url("sslmode=verify-full&sslrootcert=system")
    finished = run(url, "migrate", SSL_CERT_FILE=str(tls.other_root))
    assert finished.returncode == 1 and "no authority of `sslrootcert`" in finished.stderr, finished.stderr
    finished = run(url, "migrate", SSL_CERT_FILE=str(tls.root))
    assert finished.returncode == 0, finished.stderr


def test_without_an_authority_any_certificate_will_do(tls):
    succeeds(tls.url("sslmode=require"))
    succeeds(tls.url("sslmode=prefer"))
    succeeds(tls.url())


def test_a_plain_connection_is_refused(tls):
    fails(tls.url("sslmode=disable"), "pg_hba.conf", "no encryption")


def test_a_server_without_tls_is_refused_where_tls_is_required(cluster):
    url = f"postgres://postgres@127.0.0.1:{cluster.port}/postgres"
    fails(f"{url}?sslmode=require", "server does not support TLS")
    fails(f"{url}?sslmode=verify-full", "server does not support TLS")
    prefers = run(f"{url}?sslmode=prefer", "serve")
    assert "matriarch migrate" in prefers.stderr, prefers.stderr


def test_a_client_shows_its_certificate(tls):
    verify = f"sslmode=verify-full&sslrootcert={tls.root}"
    api = tls.url(verify + tls.identity(), user="matriarch_api")
    created = subprocess.run(
        [process.binary(), "user", "create", "alice"],
        env={
            "PATH": os.environ["PATH"],
            "MATRIARCH_SERVER_NAME": "test.example",
            "MATRIARCH_DATABASE__URL": api,
        },
        input="wonderland\n",
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert created.returncode == 0, created.stderr
    without = run(tls.url(verify, user="matriarch_api"), "serve")
    assert without.returncode == 1 and "valid client certificate" in without.stderr, without.stderr


def test_files_that_cannot_be_used_are_told_with_their_parameter(tls):
    missing = tls.folder / "missing.pem"
    cases = [
        (f"sslmode=verify-full&sslrootcert={missing}", "sslrootcert", "missing.pem", "No such file"),
        (f"sslmode=verify-full&sslrootcert={tls.key}", "sslrootcert", "client.key"),
        (f"sslmode=require&sslcert={missing}&sslkey={tls.key}", "sslcert", "missing.pem", "No such file"),
        (f"sslmode=require&sslcert={tls.certificate}&sslkey={tls.certificate}", "sslkey", "client.pem"),
        ("sslmode=verify-ca", "`sslmode=verify-ca` needs `sslrootcert`"),
        ("sslmode=verify", "must be disable, prefer, require, verify-ca or verify-full"),
    ]
    for parameters, *told in cases:
        for command in ["config", "check"], ["serve"]:
            refused = run(tls.url(parameters), *command)
            assert refused.returncode == 1 and "`database.url`" in refused.stderr, refused.stderr
            assert all(words in refused.stderr for words in told), refused.stderr


def test_all_connections_of_a_node_have_tls(tls, start_nodes):
    verify = f"sslmode=verify-full&sslrootcert={tls.root}"
    api = tls.url(verify + tls.identity(), user="matriarch_api")
    nodes = start_nodes(
        tls.database,
        2,
        MATRIARCH_DATABASE__URL=api,
        MATRIARCH_DATABASE__LISTEN_URL=f"{api}&application_name=listener",
        MATRIARCH_DATABASE__MIGRATE_URL=tls.url(verify),
    )
    alice = nodes[0].register("alice")
    alice.send(alice.create_room(), "by TLS")
    connections = """select application_name, bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid)
        where usename = 'matriarch_api' group by 1 order by 1"""
    names = [f"matriarch {socket.gethostname()}:{node.port}" for node in nodes]
    expected = sorted([("listener", True), *((name, True) for name in names)])
    eventually(lambda: tls.database.query(connections), expected)


def test_a_server_that_signed_for_itself_is_trusted_by_its_certificate(tls):
    """As `openssl req -x509` makes them, with the mark of an authority."""
    certificate, key = tls.folder / "own.pem", tls.folder / "own.key"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    before = (tls.files / "server.pem").read_bytes(), (tls.files / "server.key").read_bytes()

    def reload(*content):
        tls.serve(*content)
        tls.database.query("select pg_reload_conf()")

    reload(certificate.read_bytes(), key.read_bytes())
    try:
        trusting = tls.url(f"sslmode=verify-full&sslrootcert={certificate}")
        eventually(lambda: run(trusting, "migrate").returncode, 0)
        fails(tls.url(f"sslmode=verify-full&sslrootcert={certificate}", host="127.0.0.1"), "another name")
        fails(tls.url(f"sslmode=verify-full&sslrootcert={tls.root}"), "cannot be trusted")
    finally:
        reload(*before)
