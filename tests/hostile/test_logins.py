"""Guesses of passwords, and accounts and questions without number."""

import pytest

from harness.attack import SCALE, client_at, many, reached
from harness.client import PASSWORD
from harness.node import RATES

# Limits like the node's own, but for a machine that takes a minute for a test.
DEFAULTS = {
    "WRONG_PASSWORDS": "{per_minute = 1, burst = 30}",
    "WRONG_PASSWORDS_OF_ACCOUNT": "{per_minute = 1, burst = 40}",
    "REGISTRATIONS": "{per_minute = 1, burst = 20}",
    "REGISTRATION_ATTEMPTS": "{per_minute = 1, burst = 60}",
    "UNSIGNED_FEDERATION": "{per_minute = 120, burst = 240}",
    "FEDERATION": "{per_minute = 6000, burst = 2000}",
}


@pytest.fixture
def limited(database, start_nodes):
    assert set(DEFAULTS) == set(RATES)
    settings = {f"MATRIARCH_RATE_LIMITS__{name}": rate for name, rate in DEFAULTS.items()}
    (node,) = start_nodes(database, **settings)
    return node


def login(client, user: str, password: str) -> int:
    identifier = {"type": "m.id.user", "user": user}
    body = {"type": "m.login.password", "identifier": identifier, "password": password}
    answer = client.request("POST", "/login", body)
    if answer.status_code == 429:
        assert answer.json()["errcode"] == "M_LIMIT_EXCEEDED"
        assert answer.json()["retry_after_ms"] > 0 and int(answer.headers["Retry-After"]) > 0
    return answer.status_code


def test_guesses_of_one_address_shut_nobody_out(limited):
    alice = limited.register("alice")
    guesses = many(100 * SCALE, lambda _: login(client_at(limited, "127.0.0.2"), alice.user_id, "a guess"))
    assert set(guesses) == {403, 429} and guesses.count(403) <= 31
    assert reached(limited, "wrong_passwords") == guesses.count(429)
    # The right password is no exception there, since nobody is to learn that it is right.
    assert login(client_at(limited, "127.0.0.2"), alice.user_id, PASSWORD) == 429
    owner = client_at(limited, "127.0.0.3")
    # Right passwords are not counted.
    assert {login(owner, alice.user_id, PASSWORD) for _ in range(40)} == {200}


def test_guesses_of_many_addresses_are_limited_by_account(limited):
    alice = limited.register("alice")
    alice.get("/account/whoami")

    def guess(number):
        return login(client_at(limited, f"127.0.2.{1 + number // 10}"), alice.user_id, "a guess")

    guesses = many(100, guess)
    assert guesses.count(403) <= 42
    assert reached(limited, "wrong_passwords_of_account") == guesses.count(429) > 0
    # Nor can names that no account has be told from others.
    assert many(60, lambda n: login(client_at(limited, f"127.0.3.{1 + n // 10}"), "nobody", "x")).count(429)
    # The account's user is not shut out where one of its devices was seen.
    limited.database.query(
        "update matriarch.devices set last_seen_ip = '127.0.0.9' where device_id = %s", [alice.device_id]
    )
    assert login(client_at(limited, "127.0.0.9"), alice.user_id, PASSWORD) == 200
    assert login(client_at(limited, "127.0.0.10"), alice.user_id, PASSWORD) == 429


def test_accounts_of_one_address(limited):
    client = client_at(limited, "127.0.0.2")

    def register(number):
        body = {
            "username": f"user{number}",
            "password": PASSWORD,
            "inhibit_login": True,
            "auth": {"type": "m.login.dummy"},
        }
        return client.request("POST", "/register", body).status_code

    statuses = [register(number) for number in range(30)]
    assert statuses.count(200) in (20, 21) and set(statuses) == {200, 429}
    limited.register("somebody-else")


@pytest.mark.parametrize("what", ["names", "tokens"])
def test_names_and_tokens_cannot_be_tried_without_end(limited, what):
    client = client_at(limited, "127.0.0.2")
    path, key = {
        "names": ("/register/available", "username"),
        "tokens": ("/_matrix/client/v1/register/m.login.registration_token/validity", "token"),
    }[what]
    statuses = [client.request("GET", path, params={key: f"x{number}"}).status_code for number in range(80)]
    assert statuses[:60] == [200] * 60 and 429 in statuses
    assert client_at(limited, "127.0.0.3").request("GET", path, params={key: "x"}).status_code == 200


def test_guesses_with_a_stolen_token(limited):
    alice = limited.register("alice")
    body = {
        "new_password": "another password",
        "auth": {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": alice.user_id}},
    }
    guess = {**body, "auth": {**body["auth"], "password": "a guess"}}
    statuses = many(60, lambda _: alice.request("POST", "/account/password", guess).status_code)
    assert set(statuses) == {401, 429}
    # Others' guesses do not count for the logins of the account, nor the other way round.
    assert login(client_at(limited, "127.0.0.2"), alice.user_id, PASSWORD) == 200


def test_passwords_have_a_least_length(node, start_nodes, database):
    short = {"username": "short", "password": "1234567", "auth": {"type": "m.login.dummy"}}
    node.client().post("/register", short, status=400, errcode="M_WEAK_PASSWORD")
    alice = node.register("alice")
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": alice.user_id}}
    body = {"new_password": "äöü", "auth": {**auth, "password": PASSWORD}}
    alice.post("/account/password", body, status=400, errcode="M_WEAK_PASSWORD")
    (lenient,) = start_nodes(database, MATRIARCH_REGISTRATION__MIN_PASSWORD_LENGTH="1")
    lenient.register("bob", password="1")
