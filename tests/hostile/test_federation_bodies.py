"""Bodies of servers that do not give their keys, or that sign wrongly."""

import threading

from harness.attack import MEBIBYTE, OBJECTS, SCALE, in_flight, is_served, latency, many, reached, rss
from harness.node import RATES
from harness.waiting import eventually

ATTACKERS = 20 * SCALE
PATH = "/_matrix/federation/v1/send/1"


def objects(size: int) -> bytes:
    return b'{"pdus":[],"x":[' + OBJECTS * (size // len(OBJECTS)) + b"0]}"


def test_a_body_is_not_read_before_its_server_has_given_its_keys(home, remote_servers):
    node, servers = home[0], remote_servers(ATTACKERS)
    alice = node.register("alice")
    before, memory = latency(alice), rss(node)
    over = threading.Event()

    def hang(*_):
        over.wait(60)
        return 404, {}

    for server in servers:
        server.hooks["keys"] = hang
    body = b"{" + b" " * 11 * MEBIBYTE + b"}"
    threads = [
        threading.Thread(target=server.request, args=(node, "PUT", PATH, body), daemon=True)
        for server in servers
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: all(server.asked_for("keys") for server in servers))
    is_served(alice, before)
    assert rss(node) < memory + 50 * MEBIBYTE
    over.set()
    for thread in threads:
        thread.join(60)
    eventually(lambda: in_flight(node), 0)


def test_bodies_that_are_signed_wrongly_have_one_budget(home, remote_servers):
    node, servers = home[0], remote_servers(ATTACKERS)
    alice = node.register("alice")
    before, memory = latency(alice), rss(node)
    # Bytes are sent as they are, and not signed.
    body = objects(49_000 * len(OBJECTS))
    statuses = set(many(ATTACKERS, lambda n: servers[n].request(node, "PUT", PATH, body).status_code))
    assert statuses <= {401, 429}
    assert servers[0].request(node, "PUT", PATH, objects(1_100_000 * len(OBJECTS))).status_code == 413
    # What is no transaction has fewer.
    where = "/_matrix/federation/v1/user/keys/query"
    assert servers[0].request(node, "POST", where, objects(60_000 * len(OBJECTS))).status_code == 413
    is_served(alice, before)
    assert rss(node) < memory + 600 * MEBIBYTE
    eventually(lambda: in_flight(node), 0)


def test_unsigned_requests_and_floods_are_limited(database, start_nodes, remotes):
    rates = {f"MATRIARCH_RATE_LIMITS__{name}": "{per_minute = 0, burst = 1}" for name in RATES}
    rates["MATRIARCH_RATE_LIMITS__UNSIGNED_FEDERATION"] = "{per_minute = 1, burst = 5}"
    rates["MATRIARCH_RATE_LIMITS__FEDERATION"] = "{per_minute = 1, burst = 20}"
    (node,) = start_nodes(database, MATRIARCH_FEDERATION__ENABLED="true", **rates)
    server, other = remotes(database), remotes(database)
    where = "/_matrix/federation/v1/query/profile?user_id=@x:test.example"
    assert [server.request(node, "GET", where).status_code for _ in range(22)] == [404] * 20 + [429] * 2
    assert reached(node, "federation") == 2
    # Another server is not concerned.
    assert other.request(node, "GET", where).status_code == 404
    wrong = [other.request(node, "PUT", PATH, b'{"pdus":[]}').status_code for _ in range(7)]
    assert wrong == [401] * 5 + [429] * 2
    assert reached(node, "unsigned_federation") == 2
