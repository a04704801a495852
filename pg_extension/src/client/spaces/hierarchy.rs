//! `GET /rooms/{roomId}/hierarchy`: the rooms of a space, and recursively those of its child spaces.

use std::{collections::HashSet, rc::Rc};

use matriarch_rules::identifiers::server_name;
use matriarch_wire::RoomQuestion;
use pgrx::{iter::TableIterator, name, pg_extern};
use serde_json::{Value, json};

use super::{LocalRooms, Summary, remote_rooms::RemoteRooms};
use crate::base::{
    connection::connect,
    response::{self, MatrixError, Response, Result, to_json},
    session::Session,
    spi::{Db, Mode},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 100;
/// The greatest depth to which child spaces are followed.
const MAX_DEPTH: i64 = 20;
/// The greatest number of rooms that a walk visits.
const MAX_ROOMS: usize = 5000;
/// The most rooms that other servers are to be asked about at once.
const MAX_NEEDS: usize = 50;

/// A row of `matriarch.response`, and the rooms that other servers are to be asked about.
type HierarchyRow = (
    name!(status, i16),
    name!(outcome, Option<&'static str>),
    name!(body, String),
    name!(wake_rooms, Option<Vec<i64>>),
    name!(wake_users, Option<Vec<i64>>),
    name!(needs, Option<String>),
);

type HierarchyRows = TableIterator<'static, HierarchyRow>;

/// `GET /rooms/{roomId}/hierarchy`
///
/// `elsewhere` is what other servers answered about rooms: an array of
/// [`RoomAnswer`](matriarch_wire::RoomAnswer). `needs` names the rooms that they are to be asked about, as an
/// array of [`RoomQuestion`]; the answer does without these.
#[pg_extern(stable)]
fn hierarchy(
    token_hash: &[u8],
    room_id: &str,
    from: Option<&str>,
    limit: Option<i64>,
    max_depth: Option<i64>,
    suggested_only: bool,
    elsewhere: Option<&str>,
) -> HierarchyRows {
    let (result, needs) = connect(Mode::Read, |db| {
        let question = || {
            let session = Session::authenticate(db, token_hash)?;
            let page = Page::read(from, limit, max_depth, suggested_only)?;
            Ok((session, page, RemoteRooms::read(elsewhere)?))
        };
        match question() {
            Ok((session, page, elsewhere)) => Walk::new(db, &session, &page, &elsewhere).answer(room_id),
            Err(error) => (Err(error), Vec::new()),
        }
    });
    let needs = (!needs.is_empty()).then(|| to_json(&needs));
    let (status, outcome, body, wake_rooms, wake_users) = response::row(result);
    TableIterator::once((status, outcome, body, wake_rooms, wake_users, needs))
}

/// The part of the tree that is requested.
struct Page {
    /// How many rooms came before, and the last of them.
    before: Option<(usize, String)>,
    limit: usize,
    max_depth: Option<i64>,
    suggested_only: bool,
}

impl Page {
    fn read(
        from: Option<&str>,
        limit: Option<i64>,
        max_depth: Option<i64>,
        suggested_only: bool,
    ) -> Result<Self> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if limit <= 0 {
            return Err(MatrixError::invalid_param("`limit` must be greater than zero."));
        }
        if max_depth.is_some_and(|depth| depth < 0) {
            return Err(MatrixError::invalid_param("`max_depth` must not be negative."));
        }
        let limit = usize::try_from(limit.min(MAX_LIMIT)).unwrap_or_default();
        let mut page = Self { before: None, limit, max_depth, suggested_only };
        if let Some(from) = from {
            page.before = Some(page.parse(from)?);
        }
        Ok(page)
    }

    /// Tokens are `h<parameters>~<number of rooms before>~<the last of them>`.
    fn parse(&self, token: &str) -> Result<(usize, String)> {
        let mut parts = token.splitn(3, '~');
        let (parameters, number, room_id) = (parts.next(), parts.next(), parts.next());
        let read = || {
            let is_one = parameters?.starts_with('h');
            is_one.then_some((parameters?, number?.parse().ok()?, room_id?.to_owned()))
        };
        let unknown = || MatrixError::invalid_param("`from` is not a token of this server.");
        let (parameters, number, room_id) = read().ok_or_else(unknown)?;
        if parameters != self.parameters() {
            let error = "`max_depth` and `suggested_only` cannot be changed from one page to the next.";
            return Err(MatrixError::invalid_param(error));
        }
        Ok((number, room_id))
    }

    fn parameters(&self) -> String {
        let depth = self.max_depth.map_or_else(String::new, |depth| depth.to_string());
        format!("h{depth}{}", if self.suggested_only { "s" } else { "" })
    }
}

/// A walk through the tree, depth first, that visits each room once.
struct Walk<'w, 'd> {
    page: &'w Page,
    local: LocalRooms<'d>,
    elsewhere: &'w RemoteRooms,
    needs: Vec<RoomQuestion>,
    found: Vec<Rc<Summary>>,
    /// The index in `found` at which the page begins, once known.
    start: Option<usize>,
}

impl<'w, 'd> Walk<'w, 'd> {
    fn new(db: &'d Db<'d>, session: &Session, page: &'w Page, elsewhere: &'w RemoteRooms) -> Self {
        let start = if page.before.is_none() { Some(0) } else { None };
        let local = LocalRooms::of(db, Some(session.user_nid));
        Self { page, local, elsewhere, needs: Vec::new(), found: Vec::new(), start }
    }

    /// The response, and the rooms to ask other servers about.
    fn answer(mut self, root: &str) -> (Result<Response>, Vec<RoomQuestion>) {
        self.run(root);
        if self.found.is_empty() {
            let error = "You are not allowed to view this room, or it does not exist.";
            return (Err(MatrixError::forbidden(error)), self.needs);
        }
        let before = self.page.before.as_ref().map_or(0, |(number, _)| *number);
        let start = self.start.unwrap_or(before).min(self.found.len());
        let end = (start + self.page.limit).min(self.found.len());
        let rooms: Vec<Value> = self.found[start..end]
            .iter()
            .map(|summary| summary.with_children(self.page.suggested_only))
            .collect();
        let mut body = json!({ "rooms": rooms });
        if let Some(last) = self.found[start..end].last().filter(|_| end < self.found.len()) {
            body["next_batch"] = format!("{}~{end}~{}", self.page.parameters(), last.room_id).into();
        }
        (Ok(Response::json(&body)), self.needs)
    }

    fn run(&mut self, root: &str) {
        let max_depth = self.page.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let via = server_name(root).map(str::to_owned).into_iter().collect();
        let mut seen = HashSet::new();
        let mut open: Vec<(String, Vec<String>, i64)> = vec![(root.to_owned(), via, 0)];
        while let Some((room_id, via, depth)) = open.pop() {
            if !seen.insert(room_id.clone()) {
                continue;
            }
            let Some(summary) = self.find(&room_id, via, depth < max_depth) else { continue };
            self.found.push(Rc::clone(&summary));
            if self.page.before.as_ref().is_some_and(|(_, last)| *last == room_id) {
                self.start = Some(self.found.len());
            }
            if self.is_done() {
                return;
            }
            if depth < max_depth {
                let children = || summary.children(self.page.suggested_only);
                self.local.load(children().map(|child| child.room_id.as_str()));
                open.extend(
                    children().rev().map(|child| (child.room_id.clone(), child.via.clone(), depth + 1)),
                );
            }
        }
    }

    /// Whether the walk can end: there is more than the page, or a limit was reached.
    fn is_done(&self) -> bool {
        self.start.is_some_and(|start| self.found.len() > start + self.page.limit)
            || self.found.len() >= MAX_ROOMS
            || self.needs.len() >= MAX_NEEDS
    }

    /// The summary of a room, if the user may see it. What this server itself knows takes precedence.
    fn find(&mut self, room_id: &str, via: Vec<String>, goes_on: bool) -> Option<Rc<Summary>> {
        let room = self.local.get(room_id);
        if let Some(summary) = room.summary {
            return self.local.may_be_shown(&summary, room.membership.as_deref()).then_some(summary);
        }
        let known = self.elsewhere.get(room_id);
        // If a server described the room only as a child of another, its own children are not known.
        let is_whole =
            |summary: &Summary| !(goes_on && summary.is_space) || self.elsewhere.was_asked(room_id);
        let suffices = match &known {
            None => false,
            Some(None) => true,
            Some(Some(summary)) => is_whole(summary),
        };
        if !suffices {
            self.needs.push(RoomQuestion { room_id: room_id.to_owned(), via });
        }
        let summary = known.flatten()?;
        self.local.may_be_shown(&summary, room.membership.as_deref()).then_some(summary)
    }
}
