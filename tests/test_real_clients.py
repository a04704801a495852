"""Real clients hold a conversation, each at a node of its own: matrix-nio, and matrix-js-sdk on Node.js."""

import asyncio
import secrets

import nio

from harness import javascript
from harness.client import PASSWORD

EARLIER_MESSAGES = 40


def test_matrix_js_sdk(nodes):
    javascript.run("conversation.test.js", nodes)


def test_matrix_nio(nodes):
    asyncio.run(nio_conversation(*(node.url for node in nodes)))


async def nio_client(url: str, prefix: str) -> nio.AsyncClient:
    """Registers a user, and logs in again by password."""
    name = f"{prefix}-{secrets.token_hex(4)}"
    first = nio.AsyncClient(url, name)
    registered = ok(await first.register(name, PASSWORD, "nio"), nio.RegisterResponse)
    await first.close()

    client = nio.AsyncClient(url, registered.user_id)
    ok(await client.login(PASSWORD, "nio again"), nio.LoginResponse)
    assert client.user_id == registered.user_id
    return client


def ok(response, kind: type):
    assert isinstance(response, kind), response
    return response


async def sync_until(client: nio.AsyncClient, seen, seconds: float = 20):
    """Syncs on until `seen()` is true."""
    async with asyncio.timeout(seconds):
        while not seen():
            ok(await client.sync(timeout=2000, full_state=client.next_batch is None), nio.SyncResponse)


async def nio_conversation(alice_url: str, bob_url: str):
    alice = await nio_client(alice_url, "alice")
    bob = await nio_client(bob_url, "bob")
    at_bob, receipts, typing = [], [], []
    bob.add_event_callback(lambda _, event: at_bob.append(event), nio.RoomMessageText)
    alice.add_ephemeral_callback(lambda _, event: receipts.extend(event.receipts), nio.ReceiptEvent)
    bob.add_ephemeral_callback(lambda _, event: typing.append(event.users), nio.TypingNoticeEvent)
    try:
        # Invite and join
        created = ok(
            await alice.room_create(name="Tea", preset=nio.RoomPreset.private_chat, invite=[bob.user_id]),
            nio.RoomCreateResponse,
        )
        room = created.room_id
        await sync_until(bob, lambda: room in bob.invited_rooms)
        assert bob.invited_rooms[room].name == "Tea"
        assert bob.invited_rooms[room].inviter == alice.user_id
        await sync_until(alice, lambda: room in alice.rooms)
        for number in range(EARLIER_MESSAGES):
            ok(await say(alice, room, f"earlier {number}"), nio.RoomSendResponse)
        ok(await bob.join(room), nio.JoinResponse)
        await sync_until(bob, lambda: room in bob.rooms)
        await sync_until(alice, lambda: bob.user_id in alice.rooms[room].users)

        # Chat, both ways
        ok(await say(alice, room, "hello Bob"), nio.RoomSendResponse)
        await sync_until(bob, lambda: any(event.body == "hello Bob" for event in at_bob))
        hello = next(event for event in at_bob if event.body == "hello Bob")
        assert hello.sender == alice.user_id
        at_alice = []
        alice.add_event_callback(lambda _, event: at_alice.append(event), nio.RoomMessageText)
        ok(await say(bob, room, "hello Alice"), nio.RoomSendResponse)
        await sync_until(alice, lambda: any(event.body == "hello Alice" for event in at_alice))
        await sync_until(bob, lambda: any(event.body == "hello Alice" for event in at_bob))

        # Page back through the history
        bodies, start = [], bob.next_batch
        while True:
            page = ok(await bob.room_messages(room, start, limit=15), nio.RoomMessagesResponse)
            bodies += [event.body for event in page.chunk if isinstance(event, nio.RoomMessageText)]
            if page.end is None:
                break
            start = page.end
        expected = [f"earlier {number}" for number in range(EARLIER_MESSAGES)] + ["hello Bob", "hello Alice"]
        assert bodies[::-1] == expected

        # Read receipts and typing
        ok(await bob.room_read_markers(room, hello.event_id, hello.event_id), nio.RoomReadMarkersResponse)
        await sync_until(
            alice, lambda: any(r.user_id == bob.user_id and r.event_id == hello.event_id for r in receipts)
        )
        ok(await alice.room_typing(room, True, timeout=10_000), nio.RoomTypingResponse)
        await sync_until(bob, lambda: any(alice.user_id in users for users in typing))
        ok(await alice.room_typing(room, False), nio.RoomTypingResponse)
        await sync_until(bob, lambda: typing[-1] == [])
        assert bob.rooms[room].display_name == "Tea"
    finally:
        await alice.close()
        await bob.close()


async def say(client: nio.AsyncClient, room: str, body: str):
    return await client.room_send(room, "m.room.message", {"msgtype": "m.text", "body": body})
