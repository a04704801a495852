"""`matriarch user`: accounts from the command line."""

import subprocess

import pytest

from harness import process
from harness.client import Client

NEW = "from the command line"


@pytest.fixture(scope="module")
def run(shared_database):
    def run(*arguments, password=None, fails=None) -> str:
        finished = subprocess.run(
            [process.binary(), "user", *arguments],
            env=shared_database.environment("matriarch_api"),
            input=f"{password}\n" if password is not None else "",
            capture_output=True,
            text=True,
            timeout=60,
        )
        if fails is not None:
            assert finished.returncode != 0 and fails in finished.stderr, finished
        else:
            assert finished.returncode == 0, finished
        assert "panicked" not in finished.stderr
        return finished.stdout

    return run


def test_create_makes_an_account(node, run):
    out = run("create", "cli-alice", password="a password")
    assert "@cli-alice:test.example" in out
    node.client().login("cli-alice", "a password")
    run("create", "cli-alice", password="again", fails="taken")
    run("create", "@cli-bob:test.example", "--admin", password="a password")
    rows = node.database.query(
        "select user_id, admin from matriarch.accounts join matriarch.users using (user_nid)"
        " where user_id like '@cli-%' order by user_id"
    )
    assert rows == [("@cli-alice:test.example", False), ("@cli-bob:test.example", True)]


def test_create_refuses_what_cannot_be(run):
    run("create", "no spaces", password="x", fails="a-z")
    run("create", "@a:elsewhere.example", password="x", fails="a-z")
    run("create", "cli-empty", password="", fails="empty")


def test_passwd_sets_a_password_and_logs_out(node, run):
    user = node.register("cli")
    run("passwd", user.user_id, password=NEW)
    user.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    Client(node.url).login(user.user_id, NEW)
    run("passwd", "cli-nobody", password=NEW, fails="no account")


def test_deactivate_leaves_rooms_and_closes_the_account(node, run):
    user, friend = node.register("cli"), node.register("friend")
    room = friend.create_room(preset="public_chat")
    user.join(room)
    run("deactivate", user.user_id, "--erase")
    user.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    rows = node.database.query(
        "select room_id, membership from matrix.members where user_id = %s", [user.user_id]
    )
    assert rows == [(room, "leave")]
    run("deactivate", user.user_id, fails="deactivated")
