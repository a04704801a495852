// Clients of matrix-js-sdk, and waiting for what they see. NODE_URLS names the nodes, separated by a comma. They are of one
// server, unless SERVERS_APART is set: then users log in where they registered.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { ClientEvent, SyncState, createClient } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

// Loggers that are derived from it do as it does.
logger.methodFactory = () => () => {};
logger.rebuild();

export const nodes = process.env.NODE_URLS.split(",");
const homes = new Map();
export const PASSWORD = "correct horse battery staple";

/** Waits for an event of an emitter that `wanted` accepts, and gives its arguments. */
export function seen(emitter, name, wanted = () => true, milliseconds = 20_000) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${name} within ${milliseconds} ms`)), milliseconds);
        const listener = (...args) => {
            if (!wanted(...args)) return;
            clearTimeout(timer);
            emitter.off(name, listener);
            resolve(args);
        };
        emitter.on(name, listener);
    });
}

/** Asks again and again until the answer is true, and gives it. `what` is waited for, in words. */
export async function eventually(what, ask, milliseconds = 20_000) {
    const end = Date.now() + milliseconds;
    while (Date.now() < end) {
        const answer = await ask();
        if (answer) return answer;
        await sleep(30);
    }
    throw new Error(`not within ${milliseconds} ms: ${what}`);
}

/** Registers a user without a device, and gives the user id. */
export async function register(baseUrl, prefix) {
    const request = {
        username: `${prefix}-${randomBytes(4).toString("hex")}`,
        password: PASSWORD,
        inhibit_login: true,
    };
    const anonymous = createClient({ baseUrl });
    const registered = await anonymous
        .registerRequest(request)
        .catch((error) =>
            anonymous.registerRequest({ ...request, auth: { type: "m.login.dummy", session: error.data.session } }),
        );
    homes.set(registered.user_id, baseUrl);
    return registered.user_id;
}

/** Logs a user in by password on a new device; `options` go to the client. */
export async function login(node, userId, options = {}) {
    const baseUrl = process.env.SERVERS_APART ? homes.get(userId) : node;
    const answer = await createClient({ baseUrl }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: userId },
        password: PASSWORD,
    });
    return createClient({
        baseUrl,
        userId: answer.user_id,
        deviceId: answer.device_id,
        accessToken: answer.access_token,
        ...options,
    });
}

/** Starts to sync, and waits for the first answer. */
export async function start(client) {
    const prepared = seen(client, ClientEvent.Sync, (state) => state === SyncState.Prepared);
    await client.startClient({ initialSyncLimit: 10, lazyLoadMembers: true });
    await prepared;
}
