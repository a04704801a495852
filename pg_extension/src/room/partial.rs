//! Partial rooms: a local user has just joined, and most members are still being loaded. MSC3706, MSC3902.
//!
//! A request that must know all members waits until the room is whole ([`Room::check_member_known`]).

use matriarch_wire::Outcome;

use crate::{
    base::{
        response::{MatrixError, Result},
        spi::Db,
    },
    room::{Room, graph_events::GraphEvent, servers::ServerChanges},
};

const IS_PARTIAL: &str = "select from rooms where room_nid = $1 and partial";

const BEGIN: &str = "
    with begun as (
        update rooms set partial = true where room_nid = $1
    )
    update partial_joins set room_nid = $1, join_nid = $3 where join_event_id = $2 returning servers";

/// The states of that time stay as they are, so they count as given.
const ABANDON: &str = "
    with states as (
        delete from partial_states where room_nid = $1 returning event_nid
    ),
    given as (
        update events e set state_given = true from states s where e.event_nid = s.event_nid
    ),
    whole as (
        update rooms set partial = false, whole_xid = pg_current_xact_id() where room_nid = $1
    )
    delete from partial_joins where room_nid = $1 returning join_nid, servers";

/// Makes a request wait while the room is partial, because it must know all members.
pub fn await_whole(db: &Db<'_>, room_nid: i64) -> Result<()> {
    match db.query_opt(IS_PARTIAL, &[room_nid.into()]) {
        Some(_) => Err(wait_until_whole()),
        None => Ok(()),
    }
}

/// 503 `M_UNKNOWN`, unless the API node waits until the room is whole, and asks again.
pub fn wait_until_whole() -> MatrixError {
    let error = "The members of the room are still being loaded; try again.";
    MatrixError::new(503, "M_UNKNOWN", error).with_outcome(Outcome::Partial)
}

impl Room<'_> {
    /// 404 `M_UNABLE_DUE_TO_PARTIAL_STATE` while the room is partial, for requests of other servers.
    pub fn check_whole(&self) -> Result<()> {
        if !self.header.partial {
            return Ok(());
        }
        let error = "This server is still loading the room's members.";
        Err(MatrixError::new(404, "M_UNABLE_DUE_TO_PARTIAL_STATE", error))
    }

    /// Makes a request wait while the room is partial, because it must know all members.
    pub fn await_whole(&self) -> Result<()> {
        if self.header.partial { Err(wait_until_whole()) } else { Ok(()) }
    }

    /// Makes a request wait while the room is partial and this user's membership is unknown.
    pub fn check_member_known(&mut self, user_id: &str) -> Result<()> {
        let may_be_unknown = self.header.partial && self.state("m.room.member", user_id).is_none();
        if may_be_unknown { Err(wait_until_whole()) } else { Ok(()) }
    }

    /// Like [`Room::check_member_known`], for the target of a member event with this type and state key.
    pub fn check_target_known(&mut self, event_type: &str, state_key: Option<&str>) -> Result<()> {
        match state_key.filter(|_| event_type == "m.room.member") {
            Some(user_id) => self.check_member_known(user_id),
            None => Ok(()),
        }
    }

    /// Makes the room partial with a join that was just accepted. Returns the servers in the room that the
    /// resident server named.
    pub(crate) fn begin_partial(&mut self, join: &GraphEvent) -> Vec<String> {
        self.header.partial = true;
        let args = [self.nid.into(), join.event.event_id().into(), join.nid.into()];
        self.db.query_opt(BEGIN, &args).map_or_else(Vec::new, |row| row.get("servers"))
    }

    /// Ends a partial join before the room is whole, because the local user has left and this server comes
    /// back by another join. Returns that partial join, and the servers that its resident server named.
    pub(crate) fn abandon_partial(&mut self) -> Option<(i64, Vec<String>)> {
        self.header.partial = false;
        let abandoned = self.db.query_opt(ABANDON, &[self.nid.into()])?;
        Some((abandoned.get("join_nid"), abandoned.get("servers")))
    }

    /// Adds one presumed member to each of these servers (`change` is 1), or removes it (-1): the servers are
    /// in the room, but their members are not loaded yet.
    pub(crate) fn count_presumed(&mut self, servers: &[String], change: i32, join_nid: i64) {
        let mut changes = ServerChanges::default();
        servers.iter().for_each(|server| changes.add_server(server, change, join_nid));
        self.count_servers(self.db, changes);
    }
}
