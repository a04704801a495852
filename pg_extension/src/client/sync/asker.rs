//! Reads the sync requests and authenticates their devices.

use std::{collections::HashMap, rc::Rc};

use matriarch_rules::{filter::Filter, sync_token::SyncToken};
use matriarch_wire::SyncRequest;

use crate::base::{
    response::{MatrixError, Result},
    session::Session,
    spi::Db,
    token::sync_token,
};

/// A device that syncs, with the parameters of its request.
pub struct Asker {
    pub session: Session,
    pub since: Option<SyncToken>,
    pub filter: Rc<Filter>,
    pub full_state: bool,
    pub use_state_after: bool,
    /// Whether presence was requested.
    pub presence: bool,
    /// The key of a room's state in the answer.
    pub state_key: &'static str,
}

impl Asker {
    /// Whether the client lazy-loads members: it gets a member event only with an event of that member.
    pub fn loads_members_lazily(&self) -> bool {
        self.filter.room.state.lazy_load_members
    }
}

/// Reads requests and authenticates their tokens.
pub fn read_all(
    db: &Db<'_>,
    token_hashes: &[&[u8]],
    requests: &[String],
    now: &SyncToken,
) -> Vec<Result<Asker>> {
    let sessions = Session::authenticate_all(db, token_hashes);
    let mut filters = Filters::default();
    sessions
        .into_iter()
        .zip(requests)
        .map(|(session, request)| read(db, session?, request, now, &mut filters))
        .collect()
}

fn read(
    db: &Db<'_>,
    session: Session,
    request: &str,
    now: &SyncToken,
    filters: &mut Filters,
) -> Result<Asker> {
    let request: SyncRequest =
        serde_json::from_str(request).map_err(|error| MatrixError::invalid_param(error.to_string()))?;
    let since = request.since.as_deref().map(|since| sync_token(db, "since", since, now)).transpose()?;
    let filter = filters.find(db, session.user_nid, request.filter.as_deref())?;
    let SyncRequest { full_state, use_state_after, unstable_use_state_after, presence, .. } = request;
    let state_key = match (use_state_after, unstable_use_state_after) {
        (true, _) => "state_after",
        (false, true) => "org.matrix.msc4222.state_after",
        (false, false) => "state",
    };
    let use_state_after = use_state_after || unstable_use_state_after;
    let presence = presence && !filter.presence.admits_nothing();
    Ok(Asker { session, since, filter, full_state, use_state_after, presence, state_key })
}

const FILTER: &str = "select content from filters where user_nid = $1 and filter_id = $2";

/// The filters of a call, each read once.
#[derive(Default)]
struct Filters {
    parsed: HashMap<String, Rc<Filter>>,
    uploaded: HashMap<(i64, i64), Rc<Filter>>,
}

impl Filters {
    /// Finds a filter by the parameter `filter`: JSON, if it begins with `{`, or else the id of a filter that
    /// the user uploaded.
    fn find(&mut self, db: &Db<'_>, user_nid: i64, filter: Option<&str>) -> Result<Rc<Filter>> {
        match filter {
            None => Ok(Rc::default()),
            Some(json) if json.starts_with('{') => self.parse(json),
            Some(id) => self.uploaded(db, user_nid, id),
        }
    }

    fn parse(&mut self, json: &str) -> Result<Rc<Filter>> {
        if let Some(filter) = self.parsed.get(json) {
            return Ok(Rc::clone(filter));
        }
        let filter = Rc::new(Filter::parse(json)?);
        self.parsed.insert(json.to_owned(), Rc::clone(&filter));
        Ok(filter)
    }

    fn uploaded(&mut self, db: &Db<'_>, user_nid: i64, id: &str) -> Result<Rc<Filter>> {
        let unknown = || MatrixError::invalid_param("There is no such filter.");
        let id: i64 = id.parse().map_err(|_| unknown())?;
        if let Some(filter) = self.uploaded.get(&(user_nid, id)) {
            return Ok(Rc::clone(filter));
        }
        let row = db.query_opt(FILTER, &[user_nid.into(), id.into()]).ok_or_else(unknown)?;
        let filter = self.parse(&row.get::<String>("content"))?;
        self.uploaded.insert((user_nid, id), Rc::clone(&filter));
        Ok(filter)
    }
}
