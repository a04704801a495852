//! Auth chains.

use crate::room::Room;

const CHAIN: &str = "
    with recursive chain (event_nid) as (
        select a.auth_nid
        from unnest($1::bigint[]) as given (event_nid)
        cross join lateral (
            select unnest(auth_nids) as auth_nid from events where event_nid = given.event_nid offset 0
        ) a
        union
        select a.auth_nid
        from chain
        cross join lateral (
            select unnest(auth_nids) as auth_nid from events where event_nid = chain.event_nid offset 0
        ) a
    )
    select event_nid from chain order by event_nid";

const NID: &str = "select event_nid from events where event_id = $1";

/// The auth chain of these events of a room, in topological order. Where events do not cite the create event,
/// because the room's id is made of it, it belongs to the chain all the same.
pub fn of(room: &Room<'_>, nids: &[i64]) -> Vec<i64> {
    let implied = room.create_event_id().and_then(|id| room.db.query_opt(NID, &[id.into()]));
    let implied: Option<i64> = implied.map(|row| row.get("event_nid"));
    let implied = implied.filter(|create| nids.iter().any(|nid| nid != create));
    let chain = room.db.query(CHAIN, &[nids.to_vec().into()]).map(|row| row.get("event_nid"));
    implied.into_iter().chain(chain.filter(|nid| Some(*nid) != implied)).collect()
}
