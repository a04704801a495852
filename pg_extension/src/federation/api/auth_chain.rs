//! Auth chains.

use crate::base::spi::Db;

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

/// The auth chain of these events, in topological order.
pub fn of(db: &Db<'_>, nids: &[i64]) -> Vec<i64> {
    db.query(CHAIN, &[nids.to_vec().into()]).map(|row| row.get("event_nid")).collect()
}
