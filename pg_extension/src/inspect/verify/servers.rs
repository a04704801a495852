//! Checks the numbers of members by other server, which decide where events are sent.

use std::collections::BTreeMap;

use super::{Verifier, View, members::Counts, report::Finding};
use crate::room::servers::set_members;

const SERVERS: &str = "
    select d.server_name, r.joined_members
    from destination_rooms r
    join destinations d on d.destination_nid = r.destination_nid
    where r.room_nid = $1 and r.left_nid is null";

const PRESUMED: &str = "select unnest(servers) as server_name from partial_joins where room_nid = $1";

const OTHER_SERVERS: &str = "select other_servers from rooms where room_nid = $1";

impl Verifier {
    /// Checks `destination_rooms.joined_members` and `rooms.other_servers`.
    pub fn check_servers(&mut self, view: &View<'_, '_>, counts: &Counts) {
        let (db, room_nid) = (view.room.db, view.room.nid);
        let mut stored: BTreeMap<String, i64> = db
            .query(SERVERS, &[room_nid.into()])
            .map(|row| (row.get("server_name"), i64::from(row.get::<i32>("joined_members"))))
            .collect();
        let known = stored.len() as i64;
        let mut wrong: Vec<(String, i64)> = Vec::new();
        let mut differ = |server: &str, found: i64, expected: i64| {
            let finding = Finding::new("other servers").subject(server).found(found).expected(expected);
            if self.report.add(finding.action("counted")) {
                wrong.push((server.to_owned(), expected));
            }
        };
        let mut expected_members = counts.servers.clone();
        for row in db.query(PRESUMED, &[room_nid.into()]) {
            *expected_members.entry(row.get("server_name")).or_default() += 1;
        }
        for (server, expected) in &expected_members {
            let found = stored.remove(server).unwrap_or_default();
            if found != *expected {
                differ(server, found, *expected);
            }
        }
        for (server, found) in stored {
            differ(&server, found, 0);
        }
        let found = i64::from(db.query_one(OTHER_SERVERS, &[room_nid.into()]).get::<i32>("other_servers"));
        let mut recount = !wrong.is_empty();
        if found != known {
            let finding = Finding::new("room").subject("other_servers").found(found).expected(known);
            recount |= self.report.add(finding.action("set"));
        }
        if recount {
            set_members(db, room_nid, wrong);
        }
    }
}
