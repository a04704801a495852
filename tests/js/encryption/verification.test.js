// Cross-signing and verification: one user with three devices, another with two.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { nodes, register, eventually } from "../clients.js";
import { Device, compareEmoji } from "./device.js";

const devices = [];
let alice, alice2, alice3, bob, bob2, roomId;

async function login(node, userId, recoveryKey) {
    devices.push(await Device.login(nodes[node], userId, recoveryKey));
    return devices.at(-1);
}

/** Waits until a device trusts another one to be its owner's. */
async function trust(device, other) {
    await eventually(`${device.name} trusts ${other.name}`, () => device.trusts(other));
}

/** Whether a device's user has verified another user. */
async function verified(device, other) {
    const status = await device.crypto.getUserVerificationStatus(other.userId);
    return status.isCrossSigningVerified();
}

before(async () => {
    const [a, b] = await Promise.all(["alice", "bob"].map((name, i) => register(nodes[i], name)));
    [alice, bob] = await Promise.all([login(0, a), login(1, b)]);
    roomId = await alice.createRoom("shared", bob);
    await bob.client.joinRoom(roomId);
    await alice.sees(roomId, "join", bob);
});

after(() => devices.forEach((device) => device.close()));

test("cross-signing is set up without a password, as there is nothing to replace", async () => {
    for (const device of [alice, bob]) {
        await device.crossSign();
        const uploads = device.wire.to("/keys/device_signing/upload");
        assert.deepEqual(uploads.map((request) => request.status), [200]);
        assert.ok(await device.crypto.isCrossSigningReady());
        await trust(device, device);
    }
});

test("a second device is verified by emoji, and gets the secrets", async () => {
    alice2 = await login(1, alice.userId);
    assert.ok(await alice2.crypto.userHasCrossSigningKeys());
    assert.equal(await alice2.trusts(alice2), false);
    await alice.knows(alice.userId, alice.id, alice2.id);
    assert.equal(await alice.trusts(alice2), false);

    await compareEmoji(alice2, alice, (crypto) => crypto.requestOwnUserVerification());
    for (const device of [alice, alice2]) {
        await trust(device, alice);
        await trust(device, alice2);
    }
    await eventually("the second device has the private keys", async () => {
        const { privateKeysCachedLocally } = await alice2.crypto.getCrossSigningStatus();
        return Object.values(privateKeysCachedLocally).every(Boolean);
    });
});

test("users verify each other by emoji, for all their devices", async () => {
    assert.equal(await verified(alice, bob), false);
    await compareEmoji(bob, alice, (crypto) => crypto.requestVerificationDM(alice.userId, roomId));
    await eventually("Alice has verified Bob", () => verified(alice, bob));
    await eventually("Bob has verified Alice", () => verified(bob, alice));
    await trust(bob, alice);
    await trust(bob, alice2);
    await trust(alice, bob);

    // The signature was uploaded by one device, and is heard of by the other.
    await eventually("Alice's second device knows", () => verified(alice2, bob));
});

test("a third device verifies itself with the recovery key", async () => {
    await alice2.storeSecrets();
    assert.ok(await alice2.crypto.isSecretStorageReady());

    alice3 = await login(0, alice.userId, alice2.recoveryKey);
    assert.equal(await alice3.trusts(alice3), false);
    await alice3.crossSign();
    for (const device of [alice, alice2, alice3, bob]) await trust(device, alice3);
    assert.ok(await verified(alice3, bob));
    assert.equal(alice3.wire.to("/keys/device_signing/upload").length, 0);
});

test("a device that verified nobody sees through its owner's signatures only", async () => {
    bob2 = await login(0, bob.userId);
    for (const device of [alice, bob]) await device.knows(bob.userId, bob.id, bob2.id);
    assert.equal(await alice.trusts(bob2), false);
    assert.equal(await verified(bob2, alice), false);
    await compareEmoji(bob, bob2, (crypto) => crypto.requestDeviceVerification(bob.userId, bob2.id));
    await trust(alice, bob2);
    await trust(alice3, bob2);
    await eventually("Bob's second device knows Alice", () => verified(bob2, alice));
});

test("cross-signing keys are replaced with the password only, and all hear of it", async () => {
    const before = await alice.crypto.getCrossSigningKeyId();
    alice.recoveryKey = alice2.recoveryKey;
    await alice.crypto.bootstrapCrossSigning({
        setupNewCrossSigning: true,
        authUploadDeviceSigningKeys: alice.withPassword,
    });
    const uploads = alice.wire.to("/keys/device_signing/upload");
    assert.deepEqual(uploads.map((request) => request.status), [200, 401, 200]);
    assert.notEqual(await alice.crypto.getCrossSigningKeyId(), before);

    await eventually("Bob sees that Alice is no more who she was", async () => {
        const status = await bob.crypto.getUserVerificationStatus(alice.userId);
        return status.wasCrossSigningVerified() && !status.isCrossSigningVerified();
    });
    await eventually("nor does her second device trust itself", async () => !(await alice2.trusts(alice2)));
});
