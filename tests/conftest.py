"""Fixtures: one throw-away PostgreSQL for the session, databases, and nodes.

Ordinary tests take `nodes` (two nodes on one database, shared by all, so use fresh users and rooms) or `node`
(the first of them). Tests that break things, or that look at the whole database, take `database` and
`start_nodes`, which are theirs alone."""

import pytest

from harness import functions
from harness.cluster import Cluster
from harness.links import Links
from harness.node import TROUBLE, Node
from harness.peer import Peer
from harness.recording import RecordingServer
from harness.remote_server import RemoteServer
from harness.server import Authority, Server
from harness.shared_room import Shared
from harness.synapse import Synapse

ALL_NODES: list[Node] = []


@pytest.fixture(scope="session")
def shared_cluster():
    cluster = Cluster()
    try:
        cluster.start()
        cluster.make_template()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def cluster(shared_cluster) -> Cluster:
    return shared_cluster


@pytest.fixture
def own_cluster():
    """A cluster for this test alone, to be stopped and started at will."""
    cluster = Cluster()
    try:
        cluster.start()
        cluster.make_template()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def database(shared_cluster):
    """A migrated database for this test alone."""
    database = shared_cluster.create_database()
    yield database
    database.drop()


@pytest.fixture
def rooms(database):
    """The same, with the name of the server: for tests that call functions without a node."""
    functions.initialize(database)
    return database


@pytest.fixture
def peers(rooms):
    """Two other servers, whose keys are known."""
    peers = [Peer("one.example"), Peer("two.example")]
    for peer in peers:
        peer.publish(rooms)
    return peers


@pytest.fixture(scope="session")
def shared_database(shared_cluster):
    """The database behind `nodes`."""
    return shared_cluster.create_database()


@pytest.fixture(scope="session")
def shared_nodes(shared_database):
    with Started() as started:
        yield [started(shared_database, name) for name in ("first", "second")]


@pytest.fixture
def nodes(shared_nodes) -> list[Node]:
    """Two nodes on one database, shared by all tests."""
    return shared_nodes


@pytest.fixture
def node(shared_nodes) -> Node:
    """A node shared by all tests."""
    return shared_nodes[0]


@pytest.fixture
def start_nodes():
    """A function: start_nodes(database, count=1, **environment) gives nodes for this test alone."""
    with Started() as started:
        yield lambda database, count=1, **settings: [
            started(database, f"node{n}", **settings) for n in range(count)
        ]


@pytest.fixture(scope="module")
def federated(shared_cluster):
    """A node that answers other servers, shared by the tests of a file."""
    database = shared_cluster.create_database()
    with Started() as started:
        yield started(database, "federated", MATRIARCH_FEDERATION__ENABLED="true")
    database.drop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Whose certificates the tests' servers trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def start_servers(shared_cluster, authority):
    """A function: start_servers(count) gives homeservers for this test alone, which know each other."""
    servers = []
    with Started() as started:

        def start(count=2, nodes=1, **settings):
            new = [Server(shared_cluster, authority, started, nodes, **settings) for _ in range(count)]
            servers.extend(new)
            return new

        yield start
    for server in servers:
        server.database.drop()


@pytest.fixture(scope="module")
def linked(shared_cluster, authority):
    """Three homeservers of two nodes each, shared by the tests of a file, and the links between them."""
    links = Links()
    with Started() as started:
        level = {"MATRIARCH_LOG__LEVEL": "info,matriarch::federation=debug"}
        servers = [Server(shared_cluster, authority, started, 2, links, **level) for _ in range(3)]
        yield servers, links
    links.close()
    for server in servers:
        server.database.drop()


@pytest.fixture(scope="module")
def servers(shared_cluster, authority):
    """Two homeservers, shared by the tests of a file."""
    with Started() as started:
        servers = [Server(shared_cluster, authority, started) for _ in range(2)]
        yield servers
    for server in servers:
        server.database.drop()


@pytest.fixture(scope="module")
def synapse(authority, tmp_path_factory):
    """A Synapse, shared by the tests of a file."""
    synapse = Synapse(authority, tmp_path_factory.mktemp("synapse"))
    try:
        yield synapse.start()
    finally:
        synapse.stop()


@pytest.fixture(scope="module")
def matriarch(servers) -> Server:
    """A homeserver of ours beside the Synapse."""
    return servers[0]


@pytest.fixture(scope="module")
def remote_servers(authority):
    """A function: remote_servers(count=1) gives scripted servers."""
    servers = []

    def make(count=1):
        new = [RemoteServer(authority) for _ in range(count)]
        servers.extend(new)
        return new

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def home(shared_cluster, authority):
    """Two nodes on one database, which deal with servers on the loopback interface."""
    database = shared_cluster.create_database()
    settings = {
        "MATRIARCH_FEDERATION__ENABLED": "true",
        "MATRIARCH_FEDERATION__CA_FILE": str(authority.file),
        "MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES": "true",
        "MATRIARCH_FEDERATION__REQUEST_TIMEOUT": "3",
        "MATRIARCH_LIMITS__BODY_TIMEOUT": "3",
    }
    with Started() as started:
        yield [started(database, f"home{number}", **settings) for number in range(2)]
    database.drop()


@pytest.fixture
def shared(home, remote_servers):
    return Shared(home, remote_servers()[0])


@pytest.fixture
def remotes(authority):
    """A function: remotes(database) gives a scripted server that remembers what it is sent, and whose key the
    database knows."""
    servers = []

    def start(database) -> RecordingServer:
        remote = RecordingServer(authority)
        servers.append(remote)
        remote.publish(database)
        return remote

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def remote(server, remotes):
    """A scripted server that remembers what it is sent, beside the file's `server`."""
    return remotes(server.database)


class Started:
    """Starts nodes, and stops them at the end."""

    def __enter__(self):
        self.nodes: list[Node] = []
        return self

    def __call__(self, database, name, port=None, **settings) -> Node:
        node = Node(database, database.cluster.folder.path, name, port, **settings)
        self.nodes.append(node)
        ALL_NODES.append(node)
        return node.start()

    def __exit__(self, *_):
        for node in self.nodes:
            ALL_NODES.remove(node)
            if node.running():
                node.stop()


@pytest.fixture(autouse=True)
def logs(request):
    """No test may leave a panic or a 500 in a node's log, or a crash in the database's."""
    yield
    text = {node: node.new_log() for node in ALL_NODES}
    request.node.logs = "\n".join(f"{node.log.name}:\n{new}" for node, new in text.items() if new)
    if request.node.get_closest_marker("allow_errors") is None:
        for node, new in text.items():
            trouble = [line for line in new.splitlines() if TROUBLE.search(line)]
            assert not trouble, f"{node.log.name} shows:\n" + "\n".join(trouble)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of the nodes' logs to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        text = "".join(node.new_log() for node in ALL_NODES) + getattr(item, "logs", "")
        report.sections.append(("logs of the nodes", text[-20000:]))
