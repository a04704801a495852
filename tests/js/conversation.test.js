// Two people, each at a node of their own.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { EventType, MsgType, RoomEvent, RoomMemberEvent } from "matrix-js-sdk";

import { login, nodes, register, seen, start } from "./clients.js";

const [aliceUrl, bobUrl] = nodes;
const EARLIER_MESSAGES = 40;

/** A new user's client that syncs. */
async function newClient(baseUrl, prefix) {
    const client = await login(baseUrl, await register(baseUrl, prefix));
    await start(client);
    return client;
}

/** Waits until a message with this body is in one of the client's timelines. */
function message(client, body) {
    return seen(client, RoomEvent.Timeline, (event) => event.getContent().body === body);
}

let alice, bob, roomId;

before(async () => {
    alice = await newClient(aliceUrl, "alice");
    bob = await newClient(bobUrl, "bob");
});

after(() => {
    alice?.stopClient();
    bob?.stopClient();
});

test("invite and join across nodes", async () => {
    const invited = seen(
        bob,
        RoomMemberEvent.Membership,
        (_, member) => member.userId === bob.getUserId() && member.membership === "invite",
    );
    ({ room_id: roomId } = await alice.createRoom({
        preset: "private_chat",
        name: "Tea",
        invite: [bob.getUserId()],
    }));
    await invited;
    for (let i = 0; i < EARLIER_MESSAGES; i++) await alice.sendTextMessage(roomId, `earlier ${i}`);

    const joined = seen(
        alice,
        RoomMemberEvent.Membership,
        (_, member) => member.userId === bob.getUserId() && member.membership === "join",
    );
    const here = seen(bob, RoomEvent.MyMembership, (room, membership) => room.roomId === roomId && membership === "join");
    await bob.joinRoom(roomId);
    await Promise.all([joined, here]);
    assert.equal(bob.getRoom(roomId).name, "Tea");
});

test("chat in both directions", async () => {
    const atBob = message(bob, "hello Bob");
    await alice.sendTextMessage(roomId, "hello Bob");
    const [greeting] = await atBob;
    assert.equal(greeting.getSender(), alice.getUserId());

    const atAlice = message(alice, "hello Alice");
    await bob.sendMessage(roomId, { msgtype: MsgType.Text, body: "hello Alice" });
    await atAlice;
});

test("a local echo becomes the event, once", async () => {
    const { event_id: eventId } = await alice.sendTextMessage(roomId, "only once");
    const marked = message(alice, "marker");
    await bob.sendTextMessage(roomId, "marker");
    await marked;
    const events = alice.getRoom(roomId).getLiveTimeline().getEvents();
    assert.deepEqual(
        events.filter((event) => event.getContent().body === "only once").map((event) => event.getId()),
        [eventId],
    );
});

test("page back through history", async () => {
    const room = bob.getRoom(roomId);
    const wanted = Array.from({ length: EARLIER_MESSAGES }, (_, i) => `earlier ${i}`);
    const shown = () =>
        room
            .getLiveTimeline()
            .getEvents()
            .map((event) => event.getContent().body)
            .filter((body) => wanted.includes(body));
    for (let page = 0; page < 20 && room.oldState.paginationToken !== null; page++) await bob.scrollback(room, 15);
    assert.deepEqual(shown(), wanted);
    assert.equal(room.getLiveTimeline().getEvents()[0].getType(), EventType.RoomCreate);
});

test("read receipts", async () => {
    const { event_id: eventId } = await alice.sendTextMessage(roomId, "read me");
    const find = () => bob.getRoom(roomId).findEventById(eventId);
    if (!find()) await seen(bob, RoomEvent.Timeline, (event) => event.getId() === eventId);
    const read = seen(alice, RoomEvent.Receipt, () => alice.getRoom(roomId).getEventReadUpTo(bob.getUserId()) === eventId);
    await bob.sendReadReceipt(find());
    await read;
});

test("typing", async () => {
    const started = seen(bob, RoomMemberEvent.Typing, (_, member) => member.userId === alice.getUserId() && member.typing);
    await alice.sendTyping(roomId, true, 10_000);
    await started;
    const stopped = seen(bob, RoomMemberEvent.Typing, (_, member) => member.userId === alice.getUserId() && !member.typing);
    await alice.sendTyping(roomId, false, 0);
    await stopped;
});
