"""The published room directory."""

import secrets

import pytest

from harness.client import path


def visibility(room):
    return path("directory", "list", "room", room)


def published(user, word, **body):
    return user.post("/publicRooms", {"filter": {"generic_search_term": word}, **body})


def ids(answer):
    return [room["room_id"] for room in answer["chunk"]]


def test_visibility_is_set_and_read(node):
    alice, bob, nobody = node.register("alice"), node.register("bob"), node.client()
    room = alice.create_room(name="secret")
    assert nobody.get(visibility(room)) == {"visibility": "private"}
    alice.put(visibility(room), {"visibility": "public"})
    assert nobody.get(visibility(room)) == {"visibility": "public"}
    alice.put(visibility(room), {"visibility": "private"})
    alice.put(visibility(room), {})
    assert nobody.get(visibility(room)) == {"visibility": "public"}
    alice.put(visibility(room), {"visibility": "hidden"}, status=400, errcode="M_INVALID_PARAM")
    alice.put(visibility(room), {"visibility": 1}, status=400, errcode="M_BAD_JSON")
    bob.put(visibility(room), {"visibility": "private"}, status=403, errcode="M_FORBIDDEN")
    nobody.get(visibility("!nowhere:test.example"), status=404, errcode="M_NOT_FOUND")
    alice.put(visibility("!nowhere:test.example"), {}, status=404, errcode="M_NOT_FOUND")


def test_a_member_without_power_cannot_publish(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    bob.put(visibility(room), {"visibility": "public"}, status=403, errcode="M_FORBIDDEN")


def test_a_published_room_describes_itself(node):
    alice, bob = node.register("alice"), node.register("bob")
    word = secrets.token_hex(6)
    room = alice.create_room(
        name=f"Cheese {word}",
        topic="Tasty",
        visibility="public",
        preset="public_chat",
        room_alias_name=word,
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.avatar", "content": {"url": "mxc://test.example/brie"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
        ],
    )
    bob.join(room)
    answer = published(bob, word)
    assert answer["chunk"] == [
        {
            "room_id": room,
            "name": f"Cheese {word}",
            "topic": "Tasty",
            "canonical_alias": f"#{word}:test.example",
            "avatar_url": "mxc://test.example/brie",
            "join_rule": "public",
            "room_type": "m.space",
            "num_joined_members": 2,
            "world_readable": True,
            "guest_can_join": True,
        }
    ]
    assert answer["total_room_count_estimate"] >= 1
    assert "next_batch" not in answer and "prev_batch" not in answer


def test_what_a_room_does_not_have_is_left_out(node):
    alice = node.register("alice")
    word = secrets.token_hex(6)
    state = [{"type": "m.room.guest_access", "content": {"guest_access": "forbidden"}}]
    room = alice.create_room(name=word, visibility="public", preset="private_chat", initial_state=state)
    assert published(alice, word)["chunk"] == [
        {
            "room_id": room,
            "name": word,
            "join_rule": "invite",
            "num_joined_members": 1,
            "world_readable": False,
            "guest_can_join": False,
        }
    ]


def test_private_rooms_are_not_listed(node):
    alice = node.register("alice")
    word = secrets.token_hex(6)
    alice.create_room(name=word, preset="public_chat")
    assert ids(published(alice, word)) == []


def test_search_looks_at_name_topic_and_alias_whatever_the_case(node):
    alice = node.register("alice")
    word = secrets.token_hex(6)
    common = {"visibility": "public", "preset": "public_chat"}
    rooms = {
        alice.create_room(name=f"ÉTÉ {word}", **common),
        alice.create_room(topic=f"about été {word}", **common),
        alice.create_room(room_alias_name=f"été{word}", **common),
    }
    assert set(ids(published(alice, word.upper()))) == rooms
    assert len(ids(published(alice, f"été {word}"))) == 2


def test_rooms_are_told_by_type(node):
    alice = node.register("alice")
    word = secrets.token_hex(6)
    common = {"visibility": "public", "preset": "public_chat", "name": word}
    plain = alice.create_room(**common)
    space = alice.create_room(creation_content={"type": "m.space"}, **common)

    def of(types):
        answer = alice.post("/publicRooms", {"filter": {"generic_search_term": word, "room_types": types}})
        return set(ids(answer))

    assert of([None]) == {plain}
    assert of(["m.space"]) == {space}
    assert of([None, "m.space"]) == {plain, space}
    assert of(["org.example.other"]) == set()
    assert of([]) == set()


def test_pages_go_forward_and_back_with_most_members_first(nodes):
    alice = nodes[0].register("alice")
    others = [nodes[0].register("other") for _ in range(3)]
    word = secrets.token_hex(6)
    rooms = []
    for n in range(7):
        room = alice.create_room(name=f"{word} {n}", visibility="public", preset="public_chat")
        for other in others[: n % 4]:
            other.join(room)
        rooms.append((-(1 + n % 4), room))
    expected = [room for _, room in sorted(rooms)]

    pages, since = [], None
    while True:
        body = {"limit": 3} | ({"since": since} if since else {})
        page = published(nodes[len(pages) % 2].register(), word, **body)
        pages.append(page)
        if "next_batch" not in page:
            break
        since = page["next_batch"]
    assert [ids(page) for page in pages] == [expected[:3], expected[3:6], expected[6:]]
    assert "prev_batch" not in pages[0]

    back = published(alice, word, limit=3, since=pages[2]["prev_batch"])
    assert ids(back) == expected[3:6]
    first = published(alice, word, limit=3, since=back["prev_batch"])
    assert ids(first) == expected[:3] and "prev_batch" not in first
    assert ids(published(alice, word, limit=3, since=first["next_batch"])) == expected[3:6]


def test_anybody_may_list_and_members_may_search(node):
    alice, nobody = node.register("alice"), node.client()
    alice.create_room(visibility="public", preset="public_chat")
    page = nobody.get("/publicRooms", params={"limit": 1})
    assert len(page["chunk"]) == 1
    assert len(nobody.get("/publicRooms", params={"server": "test.example", "limit": "1"})["chunk"]) == 1
    nobody.post("/publicRooms", {}, status=401, errcode="M_MISSING_TOKEN")
    assert alice.post("/publicRooms", {"third_party_instance_id": "irc"})["chunk"] == []


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"limit": -1}, "M_INVALID_PARAM"),
        ({"limit": "ten"}, "M_BAD_JSON"),
        ({"since": "x"}, "M_INVALID_PARAM"),
        ({"since": "n1"}, "M_INVALID_PARAM"),
        ({"since": 1}, "M_BAD_JSON"),
        ({"filter": []}, "M_BAD_JSON"),
        ({"filter": {"room_types": "m.space"}}, "M_BAD_JSON"),
        ({"filter": {"generic_search_term": 1}}, "M_BAD_JSON"),
        ({"include_all_networks": True, "third_party_instance_id": "irc"}, "M_INVALID_PARAM"),
    ],
)
def test_bad_requests_are_refused(node, body, errcode):
    node.register().post("/publicRooms", body, status=400, errcode=errcode)


def test_other_servers_cannot_be_asked_yet(node):
    node.client().get(
        "/publicRooms", params={"server": "elsewhere.example"}, status=404, errcode="M_NOT_FOUND"
    )
    node.client().get("/publicRooms", params={"limit": "x"}, status=400, errcode="M_INVALID_PARAM")
