"""Secrets: what is stored is hashed or sealed, what is logged holds none, and analysts reach neither."""

import hashlib
import secrets

import psycopg
import pytest

from harness.client import Client, expect
from harness.node import SHARED_SECRET

SECRET_TABLES = {
    "access_tokens",
    "account_data",
    "accounts",
    "agreed_terms",
    "dehydrated_devices",
    "devices",
    "filters",
    "key_backup_keys",
    "key_backup_versions",
    "profiles",
    "refresh_tokens",
    "registration_nonces",
    "registration_tokens",
    "revoked_refresh_tokens",
    "signing_keys",
    "to_device_messages",
    "to_device_transactions",
    "uia_sessions",
}


def dump(database) -> str:
    """Every row of every table of the schema matriarch, as text."""
    tables = database.query("select tablename from pg_tables where schemaname = 'matriarch'")
    rows = []
    with database.connect() as connection:
        for (table,) in tables:
            rows += connection.execute(f'select t::text from matriarch."{table}" t').fetchall()
    return "\n".join(text for (text,) in rows)


@pytest.fixture
def quiet_node(database, start_nodes):
    """A node that logs all it can."""
    [node] = start_nodes(database, MATRIARCH_LOG__LEVEL="trace")
    return node


def test_no_secret_is_stored_or_logged_in_the_clear(quiet_node, database):
    node = quiet_node
    password, new_password, third = (secrets.token_hex(16) for _ in range(3))
    user = node.register("secret", password=password)
    identifier = {"type": "m.id.user", "user": user.user_id}
    login = {
        "type": "m.login.password",
        "identifier": identifier,
        "password": password,
        "refresh_token": True,
    }
    first = node.client().post("/login", login)
    second = node.client().post("/refresh", {"refresh_token": first["refresh_token"]})
    Client(node.url, second["access_token"]).get("/account/whoami")
    Client(node.url).get("/account/whoami", params={"access_token": user.access_token})
    message = secrets.token_hex(16)
    user.send(user.create_room(), message)
    backup = user.post("/room_keys/version", {"algorithm": "a", "auth_data": {"public_key": message}})[
        "version"
    ]
    key = {
        "first_message_index": 0,
        "forwarded_count": 0,
        "is_verified": True,
        "session_data": {"ciphertext": message},
    }
    user.put("/room_keys/keys/!r:b/s", key, params={"version": backup})
    # A replay ends the session.
    node.client().post(
        "/refresh", {"refresh_token": first["refresh_token"]}, status=401, errcode="M_UNKNOWN_TOKEN"
    )
    # A session that keeps a new password, one that is refused, and a login that fails.
    session = expect(user.request("POST", "/account/password", {"new_password": third}), 401)["session"]
    auth = {"type": "m.login.password", "identifier": identifier, "password": password}
    user.post("/account/password", {"new_password": new_password, "auth": auth, "logout_devices": False})
    user.call("POST", "/account/password", {"new_password": third, "auth": auth}, status=401)
    node.client().post("/login", login, status=403)
    node.client().get("/_synapse/admin/v1/register")

    tokens = [
        user.access_token,
        *(answer[key] for answer in (first, second) for key in ("access_token", "refresh_token")),
    ]
    stored, log = dump(database), node.log.read_text()
    for secret in (*tokens, password, new_password, third, session, SHARED_SECRET):
        assert secret not in stored
        assert secret not in log
    assert message not in log and "$argon2id$" not in log
    # What is stored is the hash, and the search would have found it.
    assert hashlib.sha256(user.access_token.encode()).hexdigest() in stored
    assert "$argon2id$" in stored
    assert database.query("select count(*) from matriarch.uia_sessions") != [(0,)]


def test_analysts_read_no_table_of_matriarch(database):
    tables = {
        name
        for (name,) in database.query(
            "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where nspname = 'matriarch' and relkind in ('r', 'p', 'v', 'm', 'S', 'f')"
        )
    }
    assert tables >= SECRET_TABLES
    for table in tables:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.query(f'select * from matriarch."{table}"', user="matriarch_readonly")


def test_analysts_call_no_function_of_matriarch(database):
    # A grant on the schema alone would open the functions to everybody, were they not revoked one by one.
    functions = database.query(
        "select p.oid::regprocedure::text, has_function_privilege('matriarch_readonly', p.oid, 'execute')"
        " or has_function_privilege('public', p.oid, 'execute')"
        " from pg_proc p join pg_namespace n on n.oid = p.pronamespace where nspname = 'matriarch'"
    )
    assert functions
    assert [name for name, allowed in functions if allowed] == []
    for role in ("matriarch_readonly", "matriarch_admin"):
        assert database.query("select has_schema_privilege(%s, 'matriarch', 'create')", [role]) == [(False,)]


def test_analysts_write_nothing(database):
    rows = database.query(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where nspname in ('matriarch', 'matrix') and relkind in ('r', 'p', 'v', 'm')"
        " and has_table_privilege('matriarch_readonly', c.oid, 'insert, update, delete, truncate')"
    )
    assert rows == []


def test_views_of_matrix_show_no_secret_column(database):
    columns = database.query(
        "select table_name, column_name from information_schema.columns where table_schema = 'matrix'"
    )
    assert columns
    for table, column in columns:
        assert not any(
            word in column for word in ("token", "hash", "password", "seed", "secret", "key_id")
        ), (table, column)


def test_nodes_reach_no_signing_key_and_write_no_event(database):
    for statement in (
        "select seed from matriarch.signing_keys",
        "delete from matriarch.events",
        "update matriarch.rooms set depth = 0",
        "delete from matriarch.users",
        "create table matriarch.x ()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.query(statement, user="matriarch_api")
