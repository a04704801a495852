//! Messages to the asker's device. Client-Server API, "Send-to-Device messaging".
//!
//! A sync gives what its token has not acknowledged, oldest first, as long as there is room. A token acknowledges what its
//! snapshot sees: all that was there when it was made, and so was in its answer or acknowledged before. Where an answer had
//! no room for all, its token acknowledges up to its last message only, and says so. Messages that were committed later than ones
//! with a greater `message_id` are in neither, and come with the next sync.
//!
//! Acknowledged messages are deleted afterwards by `acknowledge_to_device`; until then they are passed over here.

use super::{parts::Columns, probe::Found};
use crate::base::spi::Db;

/// As the specification recommends.
const MAX_MESSAGES: usize = 100;

/// Bytes of messages that an answer has, once it has any.
const MAX_BYTES: usize = 1024 * 1024;

/// What an asker's answer says of messages.
#[derive(Default)]
pub struct Batch {
    /// JSON texts.
    pub messages: Vec<String>,
    /// The `message_id` of the last one, where more remain.
    pub upto: Option<i64>,
    /// Whether the asker's token acknowledged messages that are still stored.
    pub acknowledged: bool,
}

/// One more than fit into an answer tells that more remain. A row without message stands for acknowledged messages: they
/// are the oldest.
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
            select message_id, xid from to_device_messages where device_nid = a.device_nid order by message_id limit 1
        ) oldest
        where pg_visible_in_snapshot(xid, a.token) and message_id <= coalesce(a.message_id, message_id)
    ) m";

/// The messages of each asker, in their order.
pub fn queued(db: &Db<'_>, columns: &Columns, found: &[Found]) -> Vec<Batch> {
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
