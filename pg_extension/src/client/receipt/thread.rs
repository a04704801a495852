//! The thread that an event belongs to. Client-Server API, "Threaded read receipts".

use serde_json::Value;

use crate::base::{
    response::{MatrixError, Result},
    spi::Db,
};

/// How far relations are followed, as the specification recommends.
const MAX_HOPS: usize = 3;

const FIND: &str = "
    select e.event_id, e.json, t.event_id as thread_root_id
    from events e
    left join events t on t.event_nid = e.thread_root_nid
    where e.event_nid = $1";

const FIND_PARENT: &str = "select event_nid from events where event_id = $1 and room_nid = $2";

/// 400 `M_INVALID_PARAM` unless the event belongs to the thread (the root's event id, or `main`).
///
/// An event is in a thread if it, or an event that it relates to, has the relation `m.thread` to the root;
/// else in the main timeline. The root and events with other relations to it are in the main timeline;
/// clients that show them in the thread may send receipts for them in the thread too.
pub fn check(db: &Db<'_>, room_nid: i64, event_nid: i64, thread_id: &str) -> Result<()> {
    let mut at = Some(event_nid);
    let mut in_thread = None;
    for _ in 0..=MAX_HOPS {
        let Some(row) = at.and_then(|nid| db.query_opt(FIND, &[nid.into()])) else { break };
        if row.get::<String>("event_id") == thread_id {
            return Ok(());
        }
        in_thread = row.opt::<String>("thread_root_id");
        if in_thread.is_some() {
            break;
        }
        at = parent(&row.get::<String>("json"))
            .and_then(|parent| db.query_opt(FIND_PARENT, &[parent.as_str().into(), room_nid.into()]))
            .map(|row| row.get("event_nid"));
    }
    if in_thread.as_deref().unwrap_or("main") == thread_id {
        Ok(())
    } else {
        Err(MatrixError::invalid_param("The event is not related to this `thread_id`."))
    }
}

/// The event that this one relates to.
fn parent(json: &str) -> Option<String> {
    let event: Value = serde_json::from_str(json).ok()?;
    let relation = event.get("content")?.get("m.relates_to")?;
    relation.get("rel_type")?.as_str()?;
    Some(relation.get("event_id")?.as_str()?.to_owned())
}
