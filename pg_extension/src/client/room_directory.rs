//! The published room directory. Client-Server API, "Published room directory".

mod description;
mod page;

use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::json;

pub use self::description::Description;
use self::page::{Order, Page};
use crate::{
    base::{
        lookup,
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
    },
    client::room_aliases::may_manage_aliases,
    room::{Room, servers::closed_to},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;

/// `GET /directory/list/room/{roomId}`
#[pg_extern(stable)]
fn room_visibility(room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let room_nid = lookup::known_room(db, room_id)?;
        let sql = "select published from rooms where room_nid = $1";
        let published: bool = db.query_one(sql, &[room_nid.into()]).get("published");
        Ok(single("visibility", if published { "public" } else { "private" }))
    })
}

const PUBLISH: &str = "update rooms set published = $2 where room_nid = $1 and published <> $2";

/// `PUT /directory/list/room/{roomId}`
///
/// For members who may set the room's canonical alias, and administrators of the server.
#[pg_extern(volatile)]
fn set_room_visibility(token_hash: &[u8], room_id: &str, visibility: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let published = match visibility {
            "public" => true,
            "private" => false,
            _ => return Err(MatrixError::invalid_param("`visibility` must be public or private.")),
        };
        lookup::known_room(db, room_id)?;
        let done = Room::with(db, room_id, |room| {
            if !may_manage_aliases(db, room, &session) {
                let error = "You may not change whether this room is in the room directory.";
                return Err(MatrixError::forbidden(error));
            }
            db.execute(PUBLISH, &[room.nid.into(), published.into()]);
            Ok(Response::empty())
        });
        done.unwrap_or_else(|| Err(MatrixError::not_found("The room is not known.")))
    })
}

/// The body of `POST /publicRooms`.
#[derive(Deserialize)]
struct Request {
    limit: Option<i64>,
    since: Option<String>,
    filter: Option<Filter>,
    include_all_networks: Option<bool>,
    third_party_instance_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

impl Request {
    fn limit(&self) -> Result<usize> {
        match self.limit {
            None | Some(0) => Ok(DEFAULT_LIMIT),
            Some(limit) => usize::try_from(limit)
                .map(|limit| limit.min(MAX_LIMIT))
                .map_err(|_| MatrixError::invalid_param("`limit` must not be negative.")),
        }
    }

    /// Whether rooms of another network are requested. This server has none.
    fn wants_other_network(&self) -> Result<bool> {
        match (&self.third_party_instance_id, self.include_all_networks) {
            (Some(_), Some(true)) => Err(MatrixError::invalid_param(
                "`third_party_instance_id` can only be used if `include_all_networks` is false.",
            )),
            (instance, _) => Ok(instance.is_some()),
        }
    }
}

impl Filter {
    fn admits(&self, room: &Description) -> bool {
        let of_type = self
            .room_types
            .as_ref()
            .is_none_or(|types| types.iter().any(|wanted| wanted.as_deref() == room.room_type.as_deref()));
        let term = self.generic_search_term.as_deref().map(str::to_lowercase);
        of_type && term.is_none_or(|term| room.mentions(&term))
    }

    fn admits_everything(&self) -> bool {
        self.room_types.is_none() && self.generic_search_term.is_none()
    }
}

/// `GET /publicRooms`, without a token, and `POST /publicRooms`
///
/// `server` names the server whose directory is requested, if not this one; `request` is the body of the
/// POST. `origin` is the server that asks, if one does: it is not shown rooms that it can never join.
#[pg_extern(stable)]
fn public_rooms(
    token_hash: Option<&[u8]>,
    server: Option<&str>,
    request: &str,
    origin: Option<&str>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        if let Some(token_hash) = token_hash {
            Session::authenticate(db, token_hash)?;
        }
        let request: Request =
            serde_json::from_str(request).map_err(|error| MatrixError::bad_json(error.to_string()))?;
        if server.is_some_and(|server| server != Signer::current(db).server_name) {
            let error = "This server does not talk to other servers.";
            return Err(MatrixError::not_found(error));
        }
        let limit = request.limit()?;
        let order = request
            .since
            .as_deref()
            .filter(|since| !since.is_empty())
            .map_or(Ok(Order::FIRST), Order::parse)?;
        if request.wants_other_network()? {
            return Ok(Response::json(&json!({ "chunk": [], "total_room_count_estimate": 0 })));
        }
        let filter = request.filter.unwrap_or_default();
        let all = origin.is_none() && filter.admits_everything();
        let page = Page::read(db, &order, limit, all, |rooms| {
            let nids: Vec<i64> = rooms.iter().map(|room| room.room_nid).collect();
            let closed = origin.map(|origin| closed_to(db, origin, &nids)).unwrap_or_default();
            rooms.retain(|room| filter.admits(&room.description) && !closed.contains(&room.room_nid));
        });
        Ok(Response::json(&page.to_json(count(db))))
    })
}

fn count(db: &Db<'_>) -> i64 {
    db.query_one("select count(*) as count from rooms where published and joined_members > 0", &[])
        .get("count")
}
