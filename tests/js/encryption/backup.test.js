// Key backup and secret storage: what a fresh device gets back with nothing but the recovery key.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { nodes, register, eventually } from "../clients.js";
import { Device } from "./device.js";

const MESSAGES = 5;
const devices = [];
const sent = [];
let alice, bob, fresh, roomId;

async function login(node, userId, recoveryKey) {
    devices.push(await Device.login(nodes[node], userId, recoveryKey));
    return devices.at(-1);
}

before(async () => {
    const [a, b] = await Promise.all(["alice", "bob"].map((name, i) => register(nodes[i], name)));
    [alice, bob] = await Promise.all([login(0, a), login(1, b)]);
    roomId = await alice.createRoom("shared", bob);
    await bob.client.joinRoom(roomId);
    await alice.sees(roomId, "join", bob);
});

after(() => devices.forEach((device) => device.close()));

test("the keys of all messages go into the backup", async () => {
    await alice.crossSign();
    await alice.storeSecrets(true);
    assert.equal(await alice.crypto.getActiveSessionBackupVersion(), "1");
    for (let i = 0; i < MESSAGES; i++) {
        const eventId = await bob.say(roomId, `secret ${i}`);
        await alice.reads(roomId, eventId, `secret ${i}`);
        sent.push(eventId);
        // A room key for each message.
        await bob.crypto.forceDiscardSession(roomId);
    }
    await eventually("all keys are backed up", async () => (await alice.backedUp()) === MESSAGES);
    await alice.client.logout();
});

test("a fresh device finds nothing without the recovery key", async () => {
    fresh = await login(1, alice.userId, await alice.crypto.createRecoveryKeyFromPassphrase());
    for (const eventId of sent) await fresh.cannotDecrypt(await fresh.fetch(roomId, eventId));
    await assert.rejects(fresh.crypto.loadSessionBackupPrivateKeyFromSecretStorage());
});

test("a fresh device restores the backup with the recovery key", async () => {
    fresh.recoveryKey = alice.recoveryKey;
    await fresh.crossSign();
    await eventually("it trusts itself", () => fresh.trusts(fresh));
    await fresh.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    assert.deepEqual(await fresh.crypto.restoreKeyBackup(), { total: MESSAGES, imported: MESSAGES });
    for (const [i, eventId] of sent.entries()) await fresh.reads(roomId, eventId, `secret ${i}`);
});

test("it goes on with the same backup", async () => {
    const check = await fresh.crypto.checkKeyBackupAndEnable();
    assert.ok(check.trustInfo.trusted && check.trustInfo.matchesDecryptionKey);
    assert.equal(await fresh.crypto.getActiveSessionBackupVersion(), "1");
    const eventId = await bob.say(roomId, "one more");
    await fresh.reads(roomId, eventId, "one more");
    await eventually("its key is backed up", async () => (await fresh.backedUp()) === MESSAGES + 1);
});

test("a new backup replaces the old one, and is used by the other device", async () => {
    const other = await login(0, alice.userId, alice.recoveryKey);
    await other.crossSign();
    await other.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await other.crypto.checkKeyBackupAndEnable();
    assert.equal(await other.crypto.getActiveSessionBackupVersion(), "1");

    await fresh.crypto.resetKeyBackup();
    const { version } = await fresh.crypto.getKeyBackupInfo();
    assert.equal(version, "2");
    await eventually("all keys are in it", async () => (await fresh.backedUp()) === MESSAGES + 1);

    // The old version is gone, so that its next upload is refused, and it looks for the new one.
    const eventId = await bob.say(roomId, "to the second backup");
    await other.reads(roomId, eventId, "to the second backup");
    await eventually(
        "the other device has found the new backup",
        async () => (await other.crypto.checkKeyBackupAndEnable())?.backupInfo.version === "2",
    );
});

test("a backup that is deleted is gone", async () => {
    await fresh.crypto.disableKeyStorage();
    assert.equal(await fresh.crypto.getKeyBackupInfo(), null);
    assert.equal(await fresh.crypto.getActiveSessionBackupVersion(), null);
});
