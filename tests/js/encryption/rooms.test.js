// Encrypted rooms: who was there when a message was sent reads it, on each device; nobody else does.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { nodes, register } from "../clients.js";
import { Device } from "./device.js";

const devices = [];
let alice, alice2, bob, bob2, carol, dave, roomId;
const sent = {};

async function login(node, userId) {
    devices.push(await Device.login(nodes[node], userId));
    return devices.at(-1);
}

/** Has Alice say something in the room, and makes sure that exactly these devices can read it. */
async function readBy(body, ...readers) {
    sent[body] = await alice.say(roomId, body);
    await Promise.all(readers.map((reader) => reader.reads(roomId, sent[body], body)));
    const raw = await alice.fetch(roomId, sent[body]);
    await Promise.all(devices.filter((device) => !readers.includes(device)).map((other) => other.cannotDecrypt(raw)));
}

before(async () => {
    const [a, b, c, d] = await Promise.all(
        ["alice", "bob", "carol", "dave"].map((name, i) => register(nodes[i % 2], name)),
    );
    [alice, alice2, bob, bob2, carol, dave] = await Promise.all([
        login(0, a),
        login(1, a),
        login(1, b),
        login(0, b),
        login(0, c),
        login(1, d),
    ]);
});

after(() => devices.forEach((device) => device.close()));

test("each device of each member reads", async () => {
    roomId = await alice.createRoom("joined", bob, dave);
    await Promise.all([bob, dave].map((device) => device.client.joinRoom(roomId)));
    await alice.sees(roomId, "join", bob, dave);
    await readBy("to four devices and myself", alice, alice2, bob, bob2, dave);
});

test("who joins later reads what comes then", async () => {
    await alice.client.invite(roomId, carol.userId);
    await carol.client.joinRoom(roomId);
    await alice.sees(roomId, "join", carol);
    await readBy("welcome Carol", alice, alice2, bob, bob2, dave, carol);

    await assert.rejects(carol.fetch(roomId, sent["to four devices and myself"]), { httpStatus: 404 });
    await carol.cannotDecrypt(await bob.fetch(roomId, sent["to four devices and myself"]));
});

test("who left reads no more", async () => {
    await dave.client.leave(roomId);
    await alice.sees(roomId, "leave", dave);
    const before = alice.wire.requests.length;
    await readBy("Dave is gone", alice, alice2, bob, bob2, carol);
    // All the others get a new room key, and he does not.
    assert.deepEqual(
        alice.wire.addressed(before).sort(),
        [alice2, bob, bob2, carol].map((device) => device.name).sort(),
    );
    await assert.rejects(dave.fetch(roomId, sent["Dave is gone"]), { httpStatus: 404 });
});

test("who comes back reads what comes then", async () => {
    await alice.client.invite(roomId, dave.userId);
    await bob.sees(roomId, "invite", dave);
    await dave.client.joinRoom(roomId);
    await alice.sees(roomId, "join", dave);
    await readBy("welcome back", alice, alice2, bob, bob2, carol, dave);
    await dave.cannotDecrypt(await bob.fetch(roomId, sent["Dave is gone"]));
});

test("a new device reads what comes then", async () => {
    const bob3 = await login(1, bob.userId);
    await alice.knows(bob.userId, bob.id, bob2.id, bob3.id);
    await readBy("to Bob's third device", alice, alice2, bob, bob2, bob3, carol, dave);
    await bob3.cannotDecrypt(await bob.fetch(roomId, sent["welcome back"]));
});

test("who is banned reads no more", async () => {
    await alice.client.ban(roomId, carol.userId);
    await alice.sees(roomId, "ban", carol);
    const others = devices.filter((device) => device !== carol);
    await readBy("Carol is banned", ...others);
});

test("who is invited reads from the invitation on, where the history is for the invited", async () => {
    roomId = await alice.createRoom("invited", bob);
    await alice.sees(roomId, "join", alice);
    const before = await alice.say(roomId, "Carol is not here");
    await alice.client.invite(roomId, carol.userId);
    await alice.sees(roomId, "invite", carol);
    const meanwhile = await alice.say(roomId, "Carol is on her way");
    await carol.client.joinRoom(roomId);
    await carol.reads(roomId, meanwhile, "Carol is on her way");
    await carol.cannotDecrypt(await alice.fetch(roomId, before));
});
