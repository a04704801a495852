// One-time keys: what happens when a device that is out of reach has none left.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { nodes, register, eventually } from "../clients.js";
import { Device } from "./device.js";

const ALGORITHM = "signed_curve25519";
const AT_MOST = 200;
const CLAIMERS = 8;
const devices = [];
const claimed = [];
let alice, bob, eve, roomId;

async function login(node, userId) {
    devices.push(await Device.login(nodes[node], userId));
    return devices.at(-1);
}

/** Claims a key of Bob's device: its id, and whether it is the fallback key. */
async function claim(device) {
    const { one_time_keys: keys } = await device.client.claimOneTimeKeys([[bob.userId, bob.id]], ALGORITHM);
    const [[id, key]] = Object.entries(keys[bob.userId][bob.id]);
    return { id, fallback: key.fallback === true };
}

before(async () => {
    const [a, b, e] = await Promise.all(["alice", "bob", "eve"].map((name, i) => register(nodes[i % 2], name)));
    [alice, bob, eve] = await Promise.all([login(0, a), login(1, b), login(1, e)]);
    roomId = await alice.createRoom("shared", bob);
    await bob.client.joinRoom(roomId);
    await alice.sees(roomId, "join", bob);
});

after(() => devices.forEach((device) => device.close()));

test("each key is handed out once, then the fallback key", async () => {
    bob.wire.cut();
    const claimers = Array.from({ length: CLAIMERS }, async (_, i) => {
        for (let n = 0; n < AT_MOST; n++) {
            const key = await claim(i % 2 ? alice : eve);
            if (key.fallback) return key.id;
            claimed.push(key.id);
        }
        throw new Error("there is no end to the one-time keys");
    });
    const fallbacks = new Set(await Promise.all(claimers));
    assert.equal(fallbacks.size, 1);

    const uploads = bob.wire.to("/keys/upload").map((request) => request.body);
    const uploaded = uploads.flatMap((body) => Object.keys(body.one_time_keys ?? {}));
    assert.deepEqual(claimed.sort(), uploaded.sort());
    assert.deepEqual(uploads.flatMap((body) => Object.keys(body.fallback_keys ?? {})), [...fallbacks]);
});

test("a conversation begins with the fallback key", async () => {
    const before = alice.wire.requests.length;
    const eventId = await alice.say(roomId, "are you there?");
    assert.equal(alice.wire.to("/keys/claim", before).length, 1);
    assert.deepEqual(alice.wire.addressed(before), [bob.name]);
    bob.wire.mend();
    await bob.reads(roomId, eventId, "are you there?");
});

test("a device that is back uploads new keys", async () => {
    const { id } = await eventually("new one-time keys are uploaded", async () => {
        const key = await claim(eve);
        return !key.fallback && key;
    });
    assert.ok(!claimed.includes(id));

    const eventId = await bob.say(roomId, "here I am");
    await alice.reads(roomId, eventId, "here I am");
});
