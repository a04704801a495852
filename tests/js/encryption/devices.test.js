// Devices: what the others see of them, and what becomes of one that is deleted.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { HttpApiEvent } from "matrix-js-sdk";

import { PASSWORD, eventually, nodes, register, seen } from "../clients.js";
import { Device } from "./device.js";

const devices = [];
let alice, bob, bob2, bob3, roomId;

async function login(node, userId) {
    devices.push(await Device.login(nodes[node], userId));
    return devices.at(-1);
}

before(async () => {
    const [a, b] = await Promise.all(["alice", "bob"].map((name, i) => register(nodes[i], name)));
    [alice, bob, bob2, bob3] = await Promise.all([login(0, a), login(1, b), login(0, b), login(1, b)]);
    roomId = await alice.createRoom("shared", bob);
    await bob.client.joinRoom(roomId);
    await alice.sees(roomId, "join", bob);
});

after(() => devices.forEach((device) => device.close()));

test("a user's devices are listed", async () => {
    const { devices: listed } = await bob.client.getDevices();
    assert.deepEqual(listed.map((device) => device.device_id).sort(), [bob, bob2, bob3].map((device) => device.id).sort());
    assert.deepEqual(await bob.client.getDevice(bob2.id), listed.find((device) => device.device_id === bob2.id));
});

test("a new name is heard of by who shares a room", async () => {
    const eventId = await alice.say(roomId, "to three devices");
    for (const device of [bob, bob2, bob3]) await device.reads(roomId, eventId, "to three devices");
    await bob.client.setDeviceDetails(bob2.id, { display_name: "Bob's telephone" });
    await eventually("Alice knows the name", async () => {
        const known = await alice.crypto.getUserDeviceInfo([bob.userId]);
        return known.get(bob.userId).get(bob2.id).displayName === "Bob's telephone";
    });
});

test("a device is deleted with the password only, and is logged out", async () => {
    const loggedOut = seen(bob3.client, HttpApiEvent.SessionLoggedOut);
    await assert.rejects(bob.client.deleteDevice(bob3.id), { httpStatus: 401 });
    await bob.withPassword((auth) => bob.client.deleteDevice(bob3.id, auth ?? undefined));
    const [error] = await loggedOut;
    assert.equal(error.errcode, "M_UNKNOWN_TOKEN");
    await alice.knows(bob.userId, bob.id, bob2.id);
    await bob2.knows(bob.userId, bob.id, bob2.id);
});

test("a deleted device gets no more keys", async () => {
    const before = alice.wire.requests.length;
    const eventId = await alice.say(roomId, "to two devices");
    for (const device of [bob, bob2]) await device.reads(roomId, eventId, "to two devices");
    assert.deepEqual(alice.wire.addressed(before).sort(), [bob.name, bob2.name].sort());
    await bob3.cannotDecrypt(await alice.fetch(roomId, eventId));
});

test("several are deleted at once", async () => {
    const more = await Promise.all([login(0, bob.userId), login(1, bob.userId)]);
    await alice.knows(bob.userId, bob.id, bob2.id, ...more.map((device) => device.id));
    await bob.withPassword((auth) => bob.client.deleteMultipleDevices(more.map((device) => device.id), auth ?? undefined));
    await alice.knows(bob.userId, bob.id, bob2.id);
});

test("a device that logs out gets no more keys", async () => {
    await bob2.client.logout();
    await alice.knows(bob.userId, bob.id);
    const before = alice.wire.requests.length;
    const eventId = await alice.say(roomId, "to one device");
    await bob.reads(roomId, eventId, "to one device");
    assert.deepEqual(alice.wire.addressed(before), [bob.name]);
});

test("a new password logs out the others, who get no more keys", async () => {
    const other = await login(0, bob.userId);
    await alice.knows(bob.userId, bob.id, other.id);
    const loggedOut = seen(other.client, HttpApiEvent.SessionLoggedOut);
    await bob.withPassword((auth) => bob.client.setPassword(auth ?? {}, `${PASSWORD} still`, true));
    await loggedOut;
    await alice.knows(bob.userId, bob.id);
});
