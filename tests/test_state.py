"""The state trie against a plain map, and what reading, diffing and updating it cost."""

import random

import psycopg
import pytest


class Trie:
    """States of one room of its own, on one connection."""

    def __init__(self, database):
        self.connection = database.connect()
        self.connection.execute("set search_path = matriarch")
        statement = "insert into rooms (room_id, room_version) values ('!state', '12') returning room_nid"
        (self.room_nid,) = self.connection.execute(statement).fetchone()

    def one(self, statement, *parameters):
        return self.connection.execute(statement, parameters).fetchone()[0]

    def set_many(self, root: int, changes: dict[int, int | None]) -> int:
        statement = "select state_set_many(%s, %s, %s, %s::bigint[])"
        return self.one(statement, self.room_nid, root, list(changes), list(changes.values()))

    def entries(self, root: int) -> dict[int, int]:
        return dict(self.connection.execute("select * from state_entries(%s)", [root]).fetchall())

    def diff(self, old: int, new: int) -> list[tuple]:
        return self.connection.execute("select * from state_diff(%s, %s)", [old, new]).fetchall()

    def get(self, root: int, key_idx: int) -> int | None:
        return self.one("select state_get(%s, %s)", root, key_idx)

    def stored(self) -> int:
        return self.one("select count(*) from state_nodes where room_nid = %s", self.room_nid)


def plain_diff(old: dict, new: dict) -> list[tuple]:
    keys = sorted(old.keys() | new.keys())
    return [(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


@pytest.mark.parametrize("seed", range(6))
def test_state_equals_a_plain_map_and_equal_states_have_equal_roots(database, seed):
    rng = random.Random(seed)
    trie = Trie(database)
    highest = rng.choice([10, 40, 1100, 40_000])
    states = {0: {}}
    roots = {frozenset(): 0}
    for _ in range(60):
        root = rng.choice(list(states))
        keys = [
            rng.choice([rng.randrange(highest), rng.randrange(12)])
            for _ in range(rng.choice([1, 1, 1, 5, 200]))
        ]
        changes = {key: rng.choice([None, rng.randrange(1, 4), rng.randrange(1, 10_000)]) for key in keys}
        expected = dict(states[root])
        for key, event in changes.items():
            expected.pop(key, None)
            if event is not None:
                expected[key] = event
        result = trie.set_many(root, changes)
        assert trie.entries(result) == expected
        assert roots.setdefault(frozenset(expected.items()), result) == result
        assert states.setdefault(result, expected) == expected
        other = rng.choice(list(states))
        assert trie.diff(other, result) == plain_diff(states[other], expected)
        for key in rng.sample(range(highest), min(10, highest)):
            assert trie.get(result, key) == expected.get(key)


def test_the_order_of_changes_does_not_matter(database):
    rng = random.Random(7)
    trie = Trie(database)
    state = {key: key + 1000 for key in rng.sample(range(5000), 500)}
    at_once = trie.set_many(0, state)
    for _ in range(3):
        keys = list(state)
        rng.shuffle(keys)
        root = trie.set_many(0, {4999: 1, 12_345: 2})
        for start in range(0, len(keys), 50):
            root = trie.set_many(root, {key: state[key] for key in keys[start : start + 50]})
        gone = {key: None for key in (4999, 12_345) if key not in state}
        assert trie.set_many(root, gone) == at_once


def test_taking_every_key_out_gives_the_empty_state(database):
    trie = Trie(database)
    root = trie.set_many(0, {0: 1, 31: 2, 32: 3, 40_000: 4})
    assert trie.set_many(root, {0: None, 31: None, 32: None, 40_000: None}) == 0


@pytest.mark.parametrize(("members", "height"), [(10, 1), (1_000, 2), (100_000, 4)])
def test_cost_in_rows_grows_with_the_logarithm_of_the_state(database, members, height):
    trie = Trie(database)
    root = trie.set_many(0, {key: key + 1 for key in range(members)})
    # Leaves and the nodes above them, and nothing besides.
    nodes, level = 0, members
    while level > 1 or nodes == 0:
        level = -(-level // 32)
        nodes += level
    assert trie.stored() == nodes

    before = trie.stored()
    changed = trie.set_many(root, {members // 2: 1_000_000})
    assert trie.stored() - before == height

    def rows_read(statement, *parameters) -> int:
        # A new connection has an empty cache of nodes.
        with database.connect(autocommit=False) as connection:
            connection.execute("set search_path = matriarch")
            connection.execute(statement, parameters)
            fetched = (
                "select coalesce(idx_tup_fetch, 0) + seq_tup_read from pg_stat_xact_user_tables "
                "where relname = 'state_nodes'"
            )
            return connection.execute(fetched).fetchone()[0]

    trie.connection.execute("analyze matriarch.state_nodes")
    trie.connection.execute("set enable_seqscan = off")
    database.query("alter role postgres set enable_seqscan = off")
    try:
        assert rows_read("select state_get(%s, %s)", changed, members // 2) == height
        assert rows_read("select * from state_diff(%s, %s)", root, changed) == 2 * height
        assert rows_read("select * from state_diff(%s, %s)", changed, changed) == 0
    finally:
        database.query("alter role postgres reset enable_seqscan")


def test_nodes_cannot_set_state(database):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.query("select matriarch.state_set_many(1, 0, array[1], array[1])", user="matriarch_api")
