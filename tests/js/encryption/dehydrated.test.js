// A dehydrated device: it is sent the keys of messages while its owner has no other device (MSC3814).

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

import { nodes, register, eventually } from "../clients.js";
import { Device } from "./device.js";

const PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const devices = [];
let alice, bob, fresh, dehydrated, roomId, eventId;

async function login(node, userId, recoveryKey) {
    devices.push(await Device.login(nodes[node], userId, recoveryKey));
    return devices.at(-1);
}

before(async () => {
    const [a, b] = await Promise.all(["alice", "bob"].map((name, i) => register(nodes[i], name)));
    [alice, bob] = await Promise.all([login(0, a), login(1, b)]);
    roomId = await alice.createRoom("shared", bob);
    await bob.client.joinRoom(roomId);
    await bob.sees(roomId, "join", alice);
});

after(() => devices.forEach((device) => device.close()));

test("a device is dehydrated", async () => {
    await alice.crossSign();
    await alice.storeSecrets();
    assert.ok(await alice.crypto.isDehydrationSupported());
    await alice.crypto.startDehydration();
    const [upload] = alice.wire.requests.filter((request) => request.method === "PUT" && request.path === PATH);
    dehydrated = upload.body.device_id;
    await bob.knows(alice.userId, alice.id, dehydrated);
});

test("it is sent keys when no other device is left", async () => {
    await alice.client.logout();
    await bob.knows(alice.userId, dehydrated);
    const before = bob.wire.requests.length;
    eventId = await bob.say(roomId, "for whenever you are back");
    assert.deepEqual(bob.wire.addressed(before), [`${alice.userId} ${dehydrated}`]);
});

test("a fresh device reads with its keys", async () => {
    fresh = await login(1, alice.userId, alice.recoveryKey);
    await fresh.cannotDecrypt(await fresh.fetch(roomId, eventId));
    await fresh.crossSign();
    const progress = [];
    fresh.crypto.on(CryptoEvent.RehydrationProgress, (keys, events) => progress.push([keys, events]));
    await fresh.crypto.startDehydration();
    assert.deepEqual(progress.at(-1), [1, 1]);
    await fresh.reads(roomId, eventId, "for whenever you are back");
});

test("it is replaced by a new one, which is sent the keys that come then", async () => {
    const [upload] = fresh.wire.requests.filter((request) => request.method === "PUT" && request.path === PATH);
    assert.notEqual(upload.body.device_id, dehydrated);
    await bob.knows(alice.userId, fresh.id, upload.body.device_id);
    const before = bob.wire.requests.length;
    const next = await bob.say(roomId, "to both");
    await fresh.reads(roomId, next, "to both");
    assert.deepEqual(
        bob.wire.addressed(before).sort(),
        [fresh.name, `${alice.userId} ${upload.body.device_id}`].sort(),
    );
});

test("it goes with all else when encryption is reset", async () => {
    await fresh.crypto.resetEncryption(fresh.withPassword);
    await eventually("there is none", async () => {
        const answer = await fetch(nodes[1] + PATH, { headers: { Authorization: `Bearer ${fresh.client.getAccessToken()}` } });
        return answer.status === 404;
    });
    await bob.knows(alice.userId, fresh.id);
});
