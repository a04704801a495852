"""The throw-away PostgreSQL: what every other test takes for granted."""

import psycopg
import pytest


def test_database_has_the_extension_and_the_tables(database):
    ((version,),) = database.query("select extversion from pg_extension where extname = 'matriarch'")
    assert version.startswith("0.1.0-")
    assert database.query("select count(*) from matriarch.events") == [(0,)]


def test_roles_log_in_and_are_no_superusers(database):
    for role in ("matriarch_owner", "matriarch_api", "matriarch_readonly", "matriarch_admin"):
        assert database.query("select current_user::text, current_setting('is_superuser')", user=role) == [
            (role, "off")
        ]


def test_a_client_error_is_data_not_an_sql_error(database):
    rows = database.query("select status from matriarch.whoami('\\x00')", user="matriarch_api")
    assert rows == [(401,)]


def test_a_node_cannot_read_the_signing_keys(database):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.query("select seed from matriarch.signing_keys", user="matriarch_api")
