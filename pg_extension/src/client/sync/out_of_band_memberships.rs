//! Out-of-band memberships: the asker's invites, knocks and leaves for rooms that this server has not joined.

use std::collections::BTreeMap;

use matriarch_rules::{json_text::Object, sync_token::pagination_token};

use super::{Asker, parts::Columns};
use crate::base::spi::{Db, Row};

/// An out-of-band membership of a user.
pub struct OutOfBand {
    pub room_id: String,
    pub membership: String,
    pub sender: String,
    /// The member event, as clients get it; `None` for a leave of which no server was notified.
    event: Option<String>,
    /// Stripped state.
    state: Vec<String>,
}

const CHANGED: &str = "
    select a.number, o.room_id, o.membership, s.user_id as sender, o.event, o.state
    from (
        select number, user_nid, token::pg_snapshot as token, everything, left_too
        from unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[])
            with ordinality a (user_nid, token, everything, left_too, number)
        offset 0
    ) a
    cross join lateral (
        select *
        from out_of_band_memberships
        where user_nid = a.user_nid
            and (
                case when membership = 'leave' then a.left_too and not forgotten else a.everything end
                or (a.token is not null and not pg_visible_in_snapshot(xid, a.token))
            )
        offset 0
    ) o
    join users s on s.user_nid = o.sender_nid
    order by a.number, o.room_id";

const ALL: &str = "
    select 1 as number, o.room_id, o.membership, s.user_id as sender, o.event, o.state
    from out_of_band_memberships o
    join users s on s.user_nid = o.sender_nid
    where o.user_nid = $1 and (o.membership = 'invite' or ($2 and o.membership = 'leave' and not o.forgotten))
    order by o.room_id";

/// All out-of-band memberships of a user for the deprecated `/initialSync`, which does not show knocks. With
/// `archived`, also leaves.
pub fn all(db: &Db<'_>, user_nid: i64, archived: bool) -> Vec<OutOfBand> {
    db.query(ALL, &[user_nid.into(), archived.into()]).map(|row| OutOfBand::of_row(&row)).collect()
}

/// The out-of-band memberships that are news, by the index of the asker.
pub fn changed(db: &Db<'_>, columns: &Columns) -> BTreeMap<usize, Vec<OutOfBand>> {
    let args = [
        columns.users.clone().into(),
        columns.tokens.clone().into(),
        columns.full.clone().into(),
        columns.left.clone().into(),
    ];
    let mut rooms: BTreeMap<usize, Vec<OutOfBand>> = BTreeMap::new();
    for row in db.query(CHANGED, &args) {
        let number: i64 = row.get("number");
        rooms.entry(number as usize - 1).or_default().push(OutOfBand::of_row(&row));
    }
    rooms
}

impl OutOfBand {
    fn of_row(row: &Row<'_>) -> Self {
        Self {
            room_id: row.get("room_id"),
            membership: row.get("membership"),
            sender: row.get("sender"),
            event: row.opt("event"),
            state: row.get("state"),
        }
    }

    /// The member event with its `room_id`, for the deprecated event stream; `None` for a leave of which no
    /// server was notified.
    pub fn event(&self) -> Option<String> {
        let mut event = self.event.clone()?;
        // Removes the closing brace to add a key.
        event.pop();
        let mut object = Object::reopen(&mut event);
        object.value("room_id", &self.room_id);
        object.close();
        Some(event)
    }

    /// Writes the section of an invite or a knock. `name` is the key of its stripped state.
    pub fn write_state(&self, section: &mut Object<'_>, name: &str) {
        section.events(name, self.state.iter().chain(&self.event));
    }

    /// Writes the section of a room that the user left: only the event by which they left.
    pub fn write_leave(&self, section: &mut Object<'_>, asker: &Asker) {
        section.events::<&str>(asker.state_key, []);
        section.object("timeline", |timeline| {
            timeline.array("events", &self.event);
            timeline.value("limited", false).value("prev_batch", pagination_token(0));
        });
        section.events::<&str>("account_data", []);
    }
}
