//! Send-to-device messages. Client-Server API, "Send-to-Device messaging".
//!
//! A message is a row for each receiving device. It exists from the transaction of the sender's request until
//! a sync token acknowledges it. `sync/to_device.rs` describes how devices get their messages.

use std::collections::BTreeMap;

use matriarch_rules::{
    canonical_json::to_canonical_lenient, identifiers::same_server, json::parse_value,
    json_text::object_text, sync_token::SyncToken,
};
use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    base::{
        connection::connect,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::{Db, Mode},
        token::{self, sync_token},
    },
    outbox::edus::{self, MessagesByDevice},
};

/// The limit of event types.
const MAX_TYPE_BYTES: usize = 255;

const MAX_TXN_ID_BYTES: usize = 512;

/// The limit of events. It bounds the size of a sync's answer.
const MAX_MESSAGE_BYTES: usize = 65_536;

/// Contents by user and device.
type Contents<'r> = BTreeMap<String, BTreeMap<String, &'r RawValue>>;

#[derive(Deserialize)]
struct Request<'r> {
    #[serde(borrow)]
    messages: Option<Contents<'r>>,
}

/// Messages to local users, as columns.
#[derive(Debug, Default)]
pub struct Messages {
    user_ids: Vec<String>,
    /// A device id, or `*` for all devices of the user.
    device_ids: Vec<String>,
    /// The events, JSON text.
    events: Vec<String>,
}

impl Messages {
    /// Makes an event of each content. 400 `M_BAD_JSON` for a content that is no object, 413 `M_TOO_LARGE` if
    /// its event would be too long.
    fn of(sender: &str, event_type: &str, contents: &Contents<'_>) -> Result<Self> {
        let mut messages = Self::default();
        for (user_id, contents) in contents {
            for (device_id, content) in contents {
                if !content.get().starts_with('{') {
                    return Err(MatrixError::bad_json("A message must be a JSON object."));
                }
                messages.add(sender, event_type, user_id, device_id, content.get())?;
            }
        }
        Ok(messages)
    }

    /// Adds an event with this content, a JSON object. 413 `M_TOO_LARGE` if it is too long.
    pub fn add(
        &mut self,
        sender: &str,
        event_type: &str,
        user_id: &str,
        device_id: &str,
        content: &str,
    ) -> Result<()> {
        let event = object_text(|event| {
            event.raw("content", content).value("sender", sender).value("type", event_type);
        });
        if event.len() > MAX_MESSAGE_BYTES {
            return Err(MatrixError::new(413, "M_TOO_LARGE", "A message is longer than 65536 bytes."));
        }
        // No user or device has an id with U+0000, and SQL cannot take it as a parameter.
        if !user_id.contains('\0') && !device_id.contains('\0') {
            self.user_ids.push(user_id.to_owned());
            self.device_ids.push(device_id.to_owned());
            self.events.push(event);
        }
        Ok(())
    }
}

/// The content with its numbers as servers in Python write them: these sign and check what they have parsed.
fn written_anew(content: &RawValue) -> String {
    parse_value(content.get())
        .map_or_else(|_| content.get().to_owned(), |content| to_canonical_lenient(&content))
}

/// The messages to remote users.
fn elsewhere(sender: &str, contents: Contents<'_>) -> MessagesByDevice {
    let of_user = |contents: BTreeMap<String, &RawValue>| {
        contents.into_iter().map(|(device_id, content)| (device_id, written_anew(content))).collect()
    };
    contents
        .into_iter()
        .filter(|(user_id, _)| !same_server(user_id, sender))
        .map(|(user_id, contents)| (user_id, of_user(contents)))
        .collect()
}

/// Keeps the sender's device until the database transaction ends. Waits for a concurrent request with the
/// same transaction id.
const BEGIN: &str = "
    with device as (
        select device_nid from devices where device_nid = $1 for key share
    ),
    transaction as (
        insert into to_device_transactions (device_nid, txn_id, event_type)
        select device_nid, $2, $3 from device
        on conflict (device_nid, txn_id, event_type) do nothing
        returning true
    )
    select exists (select from device) as logged_in, exists (select from transaction) as is_first";

/// If a request has a message for a device and one for `*`, the device gets only the former. Devices
/// are locked in order; those that are being deleted are left out. Each device gets its messages in the order
/// of the requests. A device whose queue is full gets nothing: a queue of long messages is full earlier.
const QUEUE: &str = "
    with addressed as (
        select distinct on (d.device_nid, m.request) d.device_nid, m.request, m.message
        from unnest($1::integer[], $2::text[], $3::text[], $4::text[])
            m (request, user_id, device_id, message)
        cross join lateral (
            select user_nid from users where user_id = m.user_id offset 0
        ) u
        cross join lateral (
            select device_nid
            from devices
            where user_nid = u.user_nid and device_id = m.device_id and m.device_id <> '*'
            union all
            select device_nid
            from devices
            where user_nid = u.user_nid and m.device_id = '*'
        ) d
        order by d.device_nid, m.request, m.device_id = '*'
    ),
    present as (
        select d.device_nid, d.user_nid, a.message
        from addressed a
        join devices d on d.device_nid = a.device_nid
        order by d.device_nid, a.request
        for key share of d
    ),
    queued as (
        insert into to_device_messages (device_nid, message)
        select device_nid, message
        from present p
        where not exists (
            select
            from to_device_messages
            where device_nid = p.device_nid
            offset case when octet_length(p.message) > 4096 then 500 else 5000 end
        )
    )
    select distinct user_nid from present";

/// `PUT /sendToDevice/{eventType}/{txnId}`
///
/// Unknown users and devices are ignored. Messages to remote users are queued for their servers. 400
/// `M_BAD_JSON`, 413 `M_TOO_LARGE`.
#[pg_extern(volatile)]
fn send_to_device(token_hash: &[u8], event_type: &str, txn_id: &str, request: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        if event_type.len() > MAX_TYPE_BYTES {
            return Err(MatrixError::invalid_param("The type is longer than 255 bytes."));
        }
        if txn_id.len() > MAX_TXN_ID_BYTES {
            return Err(MatrixError::invalid_param("The transaction id is too long."));
        }
        let request: Request<'_> = serde_json::from_str(request)
            .map_err(|error| MatrixError::bad_json(format!("The body cannot be accepted: {error}.")))?;
        let contents =
            request.messages.ok_or_else(|| MatrixError::missing_param("`messages` is missing."))?;
        // Checks all messages, also those to remote users.
        let messages = Messages::of(&session.user_id, event_type, &contents)?;
        let elsewhere = elsewhere(&session.user_id, contents);

        let row = db.query_one(BEGIN, &[session.device_nid.into(), txn_id.into(), event_type.into()]);
        let (logged_in, is_first): (bool, bool) = (row.get("logged_in"), row.get("is_first"));
        if !logged_in {
            // The device was deleted since the token was looked up.
            return Err(Session::unknown());
        }
        if !is_first {
            return Ok(Response::empty());
        }
        let mut wake_users = queue(db, [messages]);
        if !elsewhere.is_empty() {
            wake_users.extend(edus::send_to_device(db, &session.user_id, event_type, elsewhere));
        }
        Ok(Response { wake_users, ..Response::empty() })
    })
}

/// Queues the messages of requests for the devices that exist. Returns the users to wake.
pub fn queue(db: &Db<'_>, requests: impl IntoIterator<Item = Messages>) -> Vec<i64> {
    let (mut numbers, mut all) = (Vec::<i32>::new(), Messages::default());
    for (number, messages) in (0..).zip(requests) {
        numbers.resize(numbers.len() + messages.events.len(), number);
        all.user_ids.extend(messages.user_ids);
        all.device_ids.extend(messages.device_ids);
        all.events.extend(messages.events);
    }
    if numbers.is_empty() {
        return Vec::new();
    }
    let args = [numbers.into(), all.user_ids.into(), all.device_ids.into(), all.events.into()];
    db.query(QUEUE, &args).map(|row| row.get("user_nid")).collect()
}

/// Reads only the oldest 1000 messages of each device: a sync acknowledges far fewer, and the next call
/// continues.
const DELETE: &str = "
    delete from to_device_messages m
    using (
        select o.device_nid, o.message_id
        from (
            select device_nid, token::pg_snapshot as token, message_id
            from unnest($1::bigint[], $2::text[], $3::bigint[]) a (device_nid, token, message_id)
            offset 0
        ) a
        cross join lateral (
            select device_nid, message_id, xid
            from to_device_messages
            where device_nid = a.device_nid
            order by message_id
            limit 1000
        ) o
        where pg_visible_in_snapshot(o.xid, a.token) and o.message_id <= coalesce(a.message_id, o.message_id)
        offset 0
    ) a
    where m.device_nid = a.device_nid and m.message_id = a.message_id";

/// Deletes acknowledged messages: `tokens[n]` is the sync token that the device `device_nids[n]` used. API
/// nodes call it after they answered a sync whose `acknowledged_by` is the device. The device's next sync
/// reports messages that were left.
#[pg_extern(volatile)]
fn acknowledge_to_device(device_nids: Vec<i64>, tokens: Vec<String>) {
    connect(Mode::Write, |db| {
        let now = token::now(db);
        let token = |text: &String| sync_token(db, "token", text, &now).ok();
        let mut used: Vec<(i64, SyncToken)> = device_nids
            .iter()
            .zip(&tokens)
            .filter_map(|(device_nid, text)| Some((*device_nid, token(text)?)))
            .collect();
        // In ascending order, so that concurrent calls do not deadlock.
        used.sort_by_key(|(device_nid, _)| *device_nid);
        let devices: Vec<i64> = used.iter().map(|(device_nid, _)| *device_nid).collect();
        let snapshots: Vec<String> = used.iter().map(|(_, token)| token.snapshot()).collect();
        let message_ids: Vec<Option<i64>> = used.iter().map(|(_, token)| token.message_id).collect();
        db.execute(DELETE, &[devices.into(), snapshots.into(), message_ids.into()]);
    });
}
