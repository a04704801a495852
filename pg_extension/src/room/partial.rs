//! Rooms of which members are missing, since a user of this server has just joined. MSC3706, MSC3902.
//!
//! What needs to know all members waits until they have come ([`Room::check_member_known`]).

use crate::{
    base::{
        response::{MatrixError, Result},
        spi::Db,
    },
    room::{Room, graph_events::GraphEvent, servers::ServerChanges},
};

/// The status of an answer that has to wait until the room is whole: the API node asks again.
const PARTIAL: i16 = 423;

const IS_PARTIAL: &str = "select from rooms where room_nid = $1 and partial";

const BEGIN: &str = "
    with begun as (
        update rooms set partial = true where room_nid = $1
    )
    update partial_joins set room_nid = $1, join_nid = $3 where join_event_id = $2 returning servers";

/// Has a request wait that needs to know all members, while the room is partial.
pub fn await_whole(db: &Db<'_>, room_nid: i64) -> Result<()> {
    match db.query_opt(IS_PARTIAL, &[room_nid.into()]) {
        Some(_) => Err(wait_until_whole()),
        None => Ok(()),
    }
}

/// The error that has the API node ask again once the room is whole.
pub fn wait_until_whole() -> MatrixError {
    MatrixError::new(PARTIAL, "M_UNKNOWN", "The members of the room are still being loaded.")
}

impl Room<'_> {
    /// 404 `M_UNABLE_DUE_TO_PARTIAL_STATE` for other servers that ask for what this one does not know yet.
    pub fn check_whole(&self) -> Result<()> {
        if !self.header.partial {
            return Ok(());
        }
        let error = "This server is still loading the room's members.";
        Err(MatrixError::new(404, "M_UNABLE_DUE_TO_PARTIAL_STATE", error))
    }

    /// Has a request wait that needs to know all members, while the room is partial.
    pub fn await_whole(&self) -> Result<()> {
        if self.header.partial { Err(wait_until_whole()) } else { Ok(()) }
    }

    /// Has the request wait, if it may be that a user is a member whom this server does not know yet.
    pub fn check_member_known(&mut self, user_id: &str) -> Result<()> {
        let may_be_unknown = self.header.partial && self.state("m.room.member", user_id).is_none();
        if may_be_unknown { Err(wait_until_whole()) } else { Ok(()) }
    }

    /// As [`Room::check_member_known`], for the user whom an event of this type and state key is about.
    pub fn check_target_known(&mut self, event_type: &str, state_key: Option<&str>) -> Result<()> {
        match state_key.filter(|_| event_type == "m.room.member") {
            Some(user_id) => self.check_member_known(user_id),
            None => Ok(()),
        }
    }

    /// Makes the room partial, by a join that was just accepted; the servers in it that the answer named.
    pub(crate) fn begin_partial(&mut self, join: &GraphEvent) -> Vec<String> {
        self.header.partial = true;
        let args = [self.nid.into(), join.event.event_id().into(), join.nid.into()];
        self.db.query_opt(BEGIN, &args).map_or_else(Vec::new, |row| row.get("servers"))
    }

    /// Counts a member that nobody knows for each of these servers, or ceases to (`change` is 1 or -1).
    pub(crate) fn count_presumed(&mut self, servers: &[String], change: i32, join_nid: i64) {
        let mut changes = ServerChanges::default();
        servers.iter().for_each(|server| changes.add_server(server, change, join_nid));
        self.count_servers(self.db, changes);
    }
}
