//! Keys of end-to-end encryption, and messages to devices: calls a second and the server's CPU time for each
//! call, beside bare statements that read or write as much.

use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use crate::{
    Bench, Result, bare,
    database::Device,
    load::{CALLERS, Load, measure},
    report,
};

const USERS: usize = 100;
const DEVICES_EACH: usize = 2;
const ONE_TIME_KEYS: usize = 50;
/// For each device: the server refuses to keep more than 5,000 keys of one.
const UPLOADS: usize = 99;
const BATCH: usize = 100;
/// For each device and second: more than can be received.
const WAITING: u64 = 5_000;

const CREATE: &str = r#"
    drop table if exists public.bench_keys, public.bench_messages;
    create table public.bench_keys (
        device bigint not null,
        name   text collate "C" not null,
        key    text not null,
        primary key (device, name)
    );
    create table public.bench_messages (
        device     bigint not null,
        message_id bigint not null generated always as identity,
        message    text not null,
        primary key (device, message_id)
    );"#;
const DROP: &str = "drop table public.bench_keys, public.bench_messages";

/// Keys of one device.
const UPLOAD: &str = "
    insert into public.bench_keys (device, name, key)
    select $1, name, key from unnest($2::text[], $3::text[]) as n (name, key)
    returning device";
/// What all these devices have uploaded.
const QUERY: &str = "
    select key from public.bench_keys
    where $1::bigint >= 0 and device = any($2::bigint[]) and name = $3::text";
/// One key of a device.
const CLAIM: &str = "
    delete from public.bench_keys
    where (device, name) = (
        select device, name
        from public.bench_keys
        where device = $1::bigint % $2::bigint
        order by name
        limit 1
        for update skip locked
    )
    returning key";
const SEND: &str = "
    insert into public.bench_messages (device, message) values ($1::bigint % $2::bigint, $3)
    returning device";
/// The oldest messages of a device, which are gone then.
const RECEIVE: &str = "
    delete from public.bench_messages
    where device = $1::bigint % $2::bigint and message_id <= (
        select max(message_id)
        from (
            select message_id
            from public.bench_messages
            where device = $1::bigint % $2::bigint
            order by message_id
            limit $3
        ) m
    )
    returning message";

const WAIT_IN_BARE: &str = "
    insert into public.bench_messages (device, message)
    select device, $3 from generate_series(0, $1::bigint - 1) as device, generate_series(1, $2::bigint)";
const WAIT_IN_SERVER: &str = "
    insert into matriarch.to_device_messages (device_nid, message)
    select device_nid, $3
    from generate_series(1, $2::bigint) cross join matriarch.access_tokens
    where token_hash = any($1)";

/// Every figure, in the order in which one needs the other.
pub async fn calls(bench: &Bench) -> Result<()> {
    bench.database.connection.batch_execute(CREATE).await?;
    let devices = bench.database.devices(&bench.client, "keys", USERS, DEVICES_EACH).await?;
    // The node opens its connections when it needs them.
    try_join_all(devices.iter().take(4 * CALLERS).map(|device| device.client.get("account/whoami"))).await?;
    let mut server = bench.database.backends().await?;
    server.push(bench.pid);

    upload(bench, &server, &devices).await?;
    query(bench, &server, &devices).await?;
    claim(bench, &server, &devices).await?;
    send(bench, &server, &devices).await?;
    receive(bench, &server, &devices).await?;
    bench.database.connection.batch_execute(DROP).await?;
    Ok(())
}

/// Prints a call's two figures.
fn compare(what: &str, call: &Load, bare: &Load) {
    report(what, call.rate, "/s", Some((bare.rate, "bare statements")));
    report(&format!("{what}, CPU"), call.cpu, "µs", Some((bare.cpu, "bare statements")));
}

/// What a client uploads at its first start, again and again with other one-time keys.
async fn upload(bench: &Bench, server: &[u32], devices: &[Device]) -> Result<()> {
    let call = measure(bench, server, async |_, call| {
        if call >= devices.len() * UPLOADS {
            return Ok(false);
        }
        let device = &devices[call % devices.len()];
        let (mut one_time_keys, fallback) = (Map::new(), format!("signed_curve25519:fallback{call}"));
        for number in 0..ONE_TIME_KEYS {
            one_time_keys.insert(format!("signed_curve25519:{call}.{number}"), key(device));
        }
        let body = json!({
            "device_keys": device_keys(device),
            "one_time_keys": one_time_keys,
            "fallback_keys": { fallback: key(device) },
        });
        device.client.post("keys/upload", &body).await?;
        Ok(true)
    })
    .await?;

    let names: Vec<String> =
        (0..ONE_TIME_KEYS + 1).map(|number| format!("signed_curve25519:{number}")).collect();
    let keys = vec![key(&devices[0]).to_string(); names.len()];
    let bare = bare::statements(bench, UPLOAD, &[&names, &keys]).await?;
    bench.database.connection.batch_execute("truncate public.bench_keys").await?;
    compare("keys/upload, 50 one-time keys", &call, &bare);
    Ok(())
}

/// The keys of all devices, by any of them.
async fn query(bench: &Bench, server: &[u32], devices: &[Device]) -> Result<()> {
    let wanted: Map<String, Value> =
        devices.iter().map(|device| (device.user_id.clone(), json!([]))).collect();
    let body = json!({ "device_keys": wanted });
    let call = measure(bench, server, async |_, call| {
        let answer = devices[call % devices.len()].client.post("keys/query", &body).await?;
        match answer["device_keys"][&devices[0].user_id].as_object().map(Map::len) {
            Some(DEVICES_EACH) => Ok(true),
            other => Err(format!("{other:?} devices of a user").into()),
        }
    })
    .await?;

    let (name, text) = ("device", device_keys(&devices[0]).to_string());
    let numbers: Vec<i64> = (0..devices.len() as i64).collect();
    let fill = "insert into public.bench_keys (device, name, key) select unnest($1::bigint[]), $2, $3";
    bench.database.connection.execute(fill, &[&numbers, &name, &text]).await?;
    let bare = bare::statements(bench, QUERY, &[&numbers, &name]).await?;
    bench.database.connection.batch_execute("truncate public.bench_keys").await?;
    compare("keys/query, 100 users of two devices", &call, &bare);
    Ok(())
}

/// A key of one device.
async fn claim(bench: &Bench, server: &[u32], devices: &[Device]) -> Result<()> {
    let claimed = |answer: &Value, device: &Device| {
        answer["one_time_keys"][&device.user_id][&device.device_id]
            .as_object()
            .is_some_and(|keys| keys.len() == 1)
    };
    let call = measure(bench, server, async |caller, call| {
        let device = &devices[call % devices.len()];
        let wanted = json!({ &device.user_id: { &device.device_id: "signed_curve25519" } });
        let answer = devices[caller].client.post("keys/claim", &json!({ "one_time_keys": wanted })).await?;
        if claimed(&answer, device) { Ok(true) } else { Err("no key was handed out".into()) }
    })
    .await?;

    let count = devices.len() as i64;
    let fill = "
        insert into public.bench_keys (device, name, key)
        select device, number::text, $3
        from generate_series(0, $1::bigint - 1) as device, generate_series(1, $2::bigint) as number";
    let each = (bench.duration.as_secs() * 200).cast_signed();
    bench.database.connection.execute(fill, &[&count, &each, &key(&devices[0]).to_string()]).await?;
    let bare = bare::statements(bench, CLAIM, &[&count]).await?;
    bench.database.connection.batch_execute("truncate public.bench_keys").await?;
    compare("keys/claim, one key", &call, &bare);
    Ok(())
}

/// A message to one device.
async fn send(bench: &Bench, server: &[u32], devices: &[Device]) -> Result<()> {
    let content = content();
    let call = measure(bench, server, async |caller, call| {
        let to = &devices[CALLERS + caller];
        let body = json!({ "messages": { &to.user_id: { &to.device_id: content } } });
        devices[caller].client.put(&format!("sendToDevice/m.room.encrypted/{call}"), &body).await?;
        Ok(true)
    })
    .await?;
    let bare = bare::statements(bench, SEND, &[&(CALLERS as i64), &content.to_string()]).await?;
    bench.database.connection.batch_execute("truncate public.bench_messages").await?;
    compare("sendToDevice, one message", &call, &bare);
    Ok(())
}

/// Syncs that each bring messages, and acknowledge those of the one before.
async fn receive(bench: &Bench, server: &[u32], devices: &[Device]) -> Result<()> {
    let receivers = &devices[2 * CALLERS..3 * CALLERS];
    let tokens = try_join_all(receivers.iter().map(|device| device.client.sync_token())).await?;
    let tokens: Vec<Mutex<String>> = tokens.into_iter().map(Mutex::new).collect();
    let message = json!({ "type": "m.room.encrypted", "sender": &devices[0].user_id, "content": content() });
    let waiting = i64::try_from(bench.duration.as_secs() * WAITING)?;
    let hashes: Vec<Vec<u8>> = receivers.iter().map(|device| device.client.token_hash()).collect();
    let connection = &bench.database.connection;
    connection.execute(WAIT_IN_SERVER, &[&hashes, &waiting, &message.to_string()]).await?;
    let call = measure(bench, server, async |caller, _| {
        let since = tokens[caller].lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = receivers[caller].client.get(&format!("sync?timeout=0&since={since}")).await?;
        let next = answer["next_batch"].as_str().ok_or("no next_batch")?;
        next.clone_into(&mut tokens[caller].lock().unwrap_or_else(PoisonError::into_inner));
        match answer["to_device"]["events"].as_array().map(Vec::len) {
            Some(BATCH) => Ok(true),
            None | Some(0) => Ok(false),
            Some(other) => Err(format!("{other} messages in a sync").into()),
        }
    })
    .await?;

    let (callers, batch) = (CALLERS as i64, BATCH as i64);
    connection.execute(WAIT_IN_BARE, &[&callers, &waiting, &message.to_string()]).await?;
    let bare = bare::statements(bench, RECEIVE, &[&callers, &batch]).await?;
    compare("sync, 100 messages to a device", &call, &bare);
    Ok(())
}

/// What a client publishes of a device.
fn device_keys(device: &Device) -> Value {
    let Device { user_id, device_id, .. } = device;
    json!({
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            format!("curve25519:{device_id}"): "c".repeat(43),
            format!("ed25519:{device_id}"): "e".repeat(43),
        },
        "signatures": signatures(device),
    })
}

/// A one-time key.
fn key(device: &Device) -> Value {
    json!({ "key": "k".repeat(43), "signatures": signatures(device) })
}

fn signatures(device: &Device) -> Value {
    json!({ &device.user_id: { format!("ed25519:{}", device.device_id): "s".repeat(86) } })
}

/// As much as a room key for one device.
fn content() -> Value {
    json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": "c".repeat(43),
        "ciphertext": { "c".repeat(43): { "type": 1, "body": "b".repeat(1_400) } },
    })
}
