//! Messages to the asker's device. Client-Server API, "Send-to-Device messaging".
//!
//! A sync returns the messages that its token has not acknowledged, oldest first, up to a limit. A token
//! acknowledges the messages that its snapshot sees: they were in its answer or had been acknowledged before.
//! If an answer reached the limit, its token contains the `message_id` of its last message and acknowledges
//! only up to that. Messages that were committed later than others with a greater `message_id` are not
//! acknowledged, and the next sync returns them.
//!
//! `acknowledge_to_device` deletes acknowledged messages later; until then they are left out here.

use super::{parts::Columns, probe::Probe};
use crate::base::spi::Db;

/// The limit that the specification recommends.
const MAX_MESSAGES: usize = 100;

/// An answer gets no further messages once it has this many bytes of them.
const MAX_BYTES: usize = 1024 * 1024;

/// The send-to-device messages in an answer.
#[derive(Default)]
pub struct Batch {
    /// JSON texts.
    pub messages: Vec<String>,
    /// The `message_id` of the last message, if more remain.
    pub upto: Option<i64>,
    /// Whether the asker's token acknowledged messages that are still stored.
    pub acknowledged: bool,
}

/// Reads one message more than the limit, to know whether more remain. A row without message says that there
/// are acknowledged messages, which are always the oldest.
const QUEUED: &str = "
    select a.number, m.message_id, m.message
    from (
        select number, device_nid, token::pg_snapshot as token, message_id
        from unnest($1::bigint[], $2::text[], $3::bigint[])
            with ordinality a (device_nid, token, message_id, number)
        offset 0
    ) a
    cross join lateral (
        (
            select message_id, message
            from to_device_messages
            where device_nid = a.device_nid
                and (a.token is null or not pg_visible_in_snapshot(xid, a.token) or message_id > a.message_id)
            order by message_id
            limit 101
        )
        union all
        select message_id, null
        from (
            select message_id, xid
            from to_device_messages
            where device_nid = a.device_nid
            order by message_id
            limit 1
        ) oldest
        where pg_visible_in_snapshot(xid, a.token) and message_id <= coalesce(a.message_id, message_id)
    ) m";

/// The messages of each asker, in their order.
pub fn queued(db: &Db<'_>, columns: &Columns, found: &[Probe]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = columns.users.iter().map(|_| Batch::default()).collect();
    if !found.iter().any(|found| found.messages) {
        return batches;
    }
    let mut last = vec![0; batches.len()];
    let mut bytes = vec![0; batches.len()];
    let args =
        [columns.devices.clone().into(), columns.tokens.clone().into(), columns.message_ids.clone().into()];
    for row in db.query(QUEUED, &args) {
        let index = row.get::<i64>("number") as usize - 1;
        let batch = &mut batches[index];
        match row.opt("message") {
            None => batch.acknowledged = true,
            Some(_) if batch.upto.is_some() => {}
            Some(message) if batch.messages.len() < MAX_MESSAGES && bytes[index] < MAX_BYTES => {
                bytes[index] += String::len(&message);
                batch.messages.push(message);
                last[index] = row.get("message_id");
            }
            Some(_) => batch.upto = Some(last[index]),
        }
    }
    batches
}
