// A device that encrypts: matrix-js-sdk with its Rust crypto, and all keys in memory.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { MatrixEvent, Method } from "matrix-js-sdk";
import { CryptoEvent, VerificationPhase } from "matrix-js-sdk/lib/crypto-api/index.js";

import { RustBackupManager } from "matrix-js-sdk/lib/rust-crypto/backup.js";

import { PASSWORD, eventually, login, seen, start } from "../clients.js";

const SAS = "m.sas.v1";
const EMOJI = 7;
const CONSIDERING = 300;

// Nothing here is to be spared a rush of backups.
RustBackupManager.maxBackupLoopStartDelayMillis = 0;

/** The way to the server: notes each request that was answered, and can be cut, as when a device is out of reach. */
class Wire {
    requests = [];
    #whole = Promise.resolve();
    #mend = () => {};

    fetch = async (url, options) => {
        await this.#whole;
        const response = await fetch(url, options);
        await this.#whole;
        const body = typeof options.body === "string" ? JSON.parse(options.body) : undefined;
        this.requests.push({ method: options.method, path: new URL(url).pathname, status: response.status, body });
        return response;
    };

    /** Holds back requests, and the answers to those on their way. */
    cut() {
        this.#whole = new Promise((resolve) => (this.#mend = resolve));
    }

    mend() {
        this.#mend();
    }

    /** The requests to a path that contains `part`, from the `from`-th request on. */
    to(part, from = 0) {
        return this.requests.slice(from).filter((request) => request.path.includes(part));
    }

    /** The devices that were sent encrypted messages from the `from`-th request on, as "user device". */
    addressed(from = 0) {
        return this.to("/sendToDevice/m.room.encrypted/", from)
            .flatMap((request) => Object.entries(request.body.messages))
            .flatMap(([userId, devices]) => Object.keys(devices).map((deviceId) => `${userId} ${deviceId}`));
    }
}

export class Device {
    /** Logs a user in on a new device. `recoveryKey` opens the user's secret storage. */
    static async login(baseUrl, userId, recoveryKey) {
        const device = new Device();
        device.wire = new Wire();
        device.recoveryKey = recoveryKey;
        device.client = await login(baseUrl, userId, {
            fetchFn: device.wire.fetch,
            verificationMethods: [SAS],
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], device.recoveryKey.privateKey],
            },
        });
        await device.client.initRustCrypto({ useIndexedDB: false });
        device.crypto = device.client.getCrypto();
        await start(device.client);
        return device;
    }

    get userId() {
        return this.client.getUserId();
    }

    get id() {
        return this.client.getDeviceId();
    }

    get name() {
        return `${this.userId} ${this.id}`;
    }

    /** Answers a request for authentication with the password, when the server asks for it. */
    withPassword = async (request) => {
        try {
            return await request(null);
        } catch (error) {
            if (error.httpStatus !== 401) throw error;
            const identifier = { type: "m.id.user", user: this.userId };
            return await request({
                type: "m.login.password",
                identifier,
                password: PASSWORD,
                session: error.data.session,
            });
        }
    };

    /** Sets up cross-signing, or with a recovery key takes it over from secret storage. */
    async crossSign() {
        // Private keys are taken over for public ones that are known.
        await this.crypto.userHasCrossSigningKeys();
        await this.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: this.withPassword });
    }

    /** Sets up secret storage, optionally with a key backup in it. */
    async storeSecrets(setupNewKeyBackup = false) {
        this.recoveryKey = await this.crypto.createRecoveryKeyFromPassphrase();
        await this.crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => this.recoveryKey,
            setupNewKeyBackup,
        });
    }

    /** How many keys are in the current backup, as the server says. */
    async backedUp() {
        return (await this.client.http.authedRequest(Method.Get, "/room_keys/version")).count;
    }

    /** Whether this device trusts another one to be its owner's. */
    async trusts(device) {
        const status = await this.crypto.getDeviceVerificationStatus(device.userId, device.id);
        return status?.crossSigningVerified === true;
    }

    /** Waits until this device has heard that these are all of a user's devices. */
    async knows(userId, ...ids) {
        const wanted = ids.sort().join();
        await eventually(`${this.name} knows ${wanted} of ${userId}`, async () => {
            const devices = await this.crypto.getUserDeviceInfo([userId]);
            return [...(devices.get(userId)?.keys() ?? [])].sort().join() === wanted;
        });
    }

    /** Creates an encrypted room, and invites others. */
    async createRoom(historyVisibility, ...invited) {
        const state = (type, content) => ({ type, state_key: "", content });
        const created = await this.client.createRoom({
            preset: "private_chat",
            invite: invited.map((device) => device.userId),
            initial_state: [
                state("m.room.encryption", { algorithm: "m.megolm.v1.aes-sha2" }),
                state("m.room.history_visibility", { history_visibility: historyVisibility }),
            ],
        });
        return created.room_id;
    }

    /** Waits until this device sees users with a membership in a room. */
    async sees(roomId, membership, ...devices) {
        for (const { userId } of devices) {
            await eventually(
                `${this.name} sees ${userId} with ${membership}`,
                () => this.client.getRoom(roomId)?.getMember(userId)?.membership === membership,
            );
        }
    }

    /** Sends an encrypted message, and gives its event id. */
    async say(roomId, body) {
        const { event_id: eventId } = await this.client.sendTextMessage(roomId, body);
        const { type } = await this.fetch(roomId, eventId);
        assert.equal(type, "m.room.encrypted");
        return eventId;
    }

    /** Waits until an event has come with a sync, and is decrypted to this body. */
    async reads(roomId, eventId, body) {
        const find = () => this.client.getRoom(roomId)?.findEventById(eventId)?.getClearContent();
        const content = await eventually(`${this.name} reads "${body}"`, find);
        assert.equal(content.body, body);
    }

    /** An event as the server has it. */
    async fetch(roomId, eventId) {
        return await this.client.fetchRoomEvent(roomId, eventId);
    }

    /** Makes sure that the keys of this device do not decrypt an event, however it was come by. */
    async cannotDecrypt(raw) {
        const event = new MatrixEvent(raw);
        await this.client.decryptEventIfNeeded(event);
        assert.ok(event.isDecryptionFailure(), `${this.name} decrypts ${JSON.stringify(event.getClearContent())}`);
    }

    close() {
        this.wire.mend();
        this.client.stopClient();
    }
}

/** Verifies by emoji: `ask` makes one device's request, and the other's user sees the same emoji. */
export async function compareEmoji(asking, asked, ask) {
    const received = seen(
        asked.client,
        CryptoEvent.VerificationRequestReceived,
        (request) => request.otherUserId === asking.userId,
    );
    const request = await ask(asking.crypto);
    const [incoming] = await received;
    await incoming.accept();
    await eventually("the request is accepted", () => request.phase === VerificationPhase.Ready);

    const verifiers = [await request.startVerification(SAS)];
    verifiers.push(await eventually("the verification is begun", () => incoming.verifier));
    const verified = Promise.all(verifiers.map((verifier) => verifier.verify()));
    const shown = await Promise.all(
        verifiers.map((verifier) => eventually("emoji are shown", () => verifier.getShowSasCallbacks())),
    );
    assert.equal(shown[0].sas.emoji.length, EMOJI);
    assert.deepEqual(shown[0].sas.emoji, shown[1].sas.emoji);
    await shown[0].confirm();
    // Who confirms just when the other's `mac` arrives sends `mac` and `done` at once, and they may change places.
    await sleep(CONSIDERING);
    await shown[1].confirm();
    await verified;
}
