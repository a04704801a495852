"""Starts a durable cluster and one node, both built for release, and runs the load generator on them; then
the benchmarks that need another server.

`make bench` calls this; arguments go to the load generator (`--seconds`, `--only`)."""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import process
from harness.cluster import Cluster
from harness.node import Node

from . import federation, join_large, synapse


def main() -> int:
    # More backends than the node's pool would not help on a machine of two cores.
    cluster = Cluster(durable=True, settings={"shared_buffers": "1GB", "max_wal_size": "4GB"})
    try:
        cluster.start()
        cluster.make_template()
        database = cluster.create_database()
        node = Node(database, cluster.folder.path, "bench", MATRIARCH_LOG__LEVEL="warn").start()
        try:
            command = [
                process.binary().parent / "matriarch-bench",
                *("--url", node.url),
                *("--database", database.url()),
                *("--pid", str(node.process.pid)),
                *sys.argv[1:],
            ]
            returned = subprocess.run(command).returncode
        finally:
            print(node.new_log(), end="", file=sys.stderr)
            node.stop()
        if only() in "join-large":
            join_large.run(cluster)
        if only() in "federation":
            federation.run(cluster)
        if only() in "synapse":
            synapse.run(cluster)
        return returned
    finally:
        cluster.remove()


def only() -> str:
    """The part of a scenario's name that the arguments ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    return parser.parse_known_args()[0].only


sys.exit(main())
