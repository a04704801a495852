//! The body of `POST /createRoom`.

use matriarch_rules::{
    Map, RoomVersion,
    identifiers::{MAX_ID_BYTES, is_alias_localpart, is_user_id},
    room_version,
};
use serde_json::Value;

use crate::base::{
    request::Body,
    response::{MatrixError, Result},
    signing::Signer,
    users::User,
};

/// The most entries of `invite`: each is an event, and a remote user's a request to another server.
const MAX_INVITES: usize = 100;
/// The most entries of `additional_creators`, and of `initial_state`.
const MAX_CREATORS: usize = 100;
const MAX_INITIAL_STATE: usize = 500;

/// `preset`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Private,
    TrustedPrivate,
    Public,
}

/// An entry of `initial_state`.
#[derive(Debug)]
pub struct InitialState {
    pub event_type: String,
    pub state_key: String,
    pub content: Map,
}

/// A checked request.
#[derive(Debug)]
pub struct CreateRoom {
    pub version: &'static RoomVersion,
    /// Whether the request names the version.
    pub names_version: bool,
    pub preset: Preset,
    pub published: bool,
    /// The whole alias.
    pub alias: Option<String>,
    pub name: Option<String>,
    pub topic: Option<String>,
    /// Each user once.
    pub invite: Vec<String>,
    pub is_direct: bool,
    /// The content of the create event.
    pub create_content: Map,
    pub initial_state: Vec<InitialState>,
    pub power_level_override: Map,
}

impl CreateRoom {
    /// # Errors
    ///
    /// 400 `M_NOT_JSON`, `M_BAD_JSON`, `M_INVALID_PARAM` and `M_UNSUPPORTED_ROOM_VERSION`; 403
    /// `M_SERVER_NOT_TRUSTED` for invites by third-party id.
    pub fn parse(
        text: &str,
        creator: &User,
        signer: &Signer,
        default_version: &str,
        available_versions: &[String],
    ) -> Result<Self> {
        let body = Body::parse(text)?;
        let named_version = body.string("room_version")?;
        let version = available(named_version.unwrap_or(default_version), available_versions)?;
        let published = match body.string("visibility")? {
            Some("public") => true,
            None | Some("private") => false,
            Some(other) => return Err(not_one_of("visibility", other)),
        };
        let preset = match body.string("preset")? {
            Some("private_chat") => Preset::Private,
            Some("trusted_private_chat") => Preset::TrustedPrivate,
            Some("public_chat") => Preset::Public,
            None if published => Preset::Public,
            None => Preset::Private,
            Some(other) => return Err(not_one_of("preset", other)),
        };
        if body.array("invite_3pid")?.is_some_and(|invites| !invites.is_empty()) {
            return Err(crate::client::room_membership::refuse_third_party_invite());
        }
        let invite = invited(&body)?;
        let create_content = create_content(&body, version, creator, preset, &invite)?;
        Ok(Self {
            version,
            names_version: named_version.is_some(),
            preset,
            published,
            alias: body.string("room_alias_name")?.map(|localpart| alias(localpart, signer)).transpose()?,
            name: body.string("name")?.map(str::to_owned),
            topic: body.string("topic")?.map(str::to_owned),
            invite,
            is_direct: body.bool("is_direct")?.unwrap_or(false),
            create_content,
            initial_state: initial_state(&body)?,
            power_level_override: body.object("power_level_content_override")?.cloned().unwrap_or_default(),
        })
    }
}

/// A room version. 400 `M_UNSUPPORTED_ROOM_VERSION` for one that is not in `versions`, or that this server
/// does not know.
pub fn available(version: &str, versions: &[String]) -> Result<&'static RoomVersion> {
    let known = room_version(version).filter(|known| versions.iter().any(|available| available == known.id));
    known.ok_or_else(|| {
        let error = format!("New rooms cannot have the version {version:?} at this server.");
        MatrixError::new(400, "M_UNSUPPORTED_ROOM_VERSION", error)
    })
}

fn not_one_of(key: &str, value: &str) -> MatrixError {
    MatrixError::invalid_param(format!("`{key}` cannot be {value:?}."))
}

/// 400 `M_INVALID_PARAM` for an array that is longer than `most`.
fn check_length(key: &str, length: usize, most: usize) -> Result<()> {
    if length > most {
        return Err(MatrixError::invalid_param(format!("`{key}` can have at most {most} entries.")));
    }
    Ok(())
}

fn invited(body: &Body) -> Result<Vec<String>> {
    let user_ids = body.strings("invite")?;
    check_length("invite", user_ids.len(), MAX_INVITES)?;
    let mut invite: Vec<String> = Vec::new();
    for user_id in user_ids {
        if !is_user_id(user_id) {
            return Err(MatrixError::invalid_param(format!("{user_id:?} in `invite` is not a user id.")));
        }
        if !invite.iter().any(|invited| invited == user_id) {
            invite.push(user_id.to_owned());
        }
    }
    Ok(invite)
}

fn alias(localpart: &str, signer: &Signer) -> Result<String> {
    let alias = format!("#{localpart}:{}", signer.server_name);
    if is_alias_localpart(localpart) && alias.len() <= MAX_ID_BYTES {
        Ok(alias)
    } else {
        let error =
            format!("`room_alias_name` is the part between # and the colon of an alias, not {localpart:?}.");
        Err(MatrixError::invalid_param(error))
    }
}

/// The content of the create event: `creation_content` with the keys that the server sets.
fn create_content(
    body: &Body,
    version: &RoomVersion,
    creator: &User,
    preset: Preset,
    invite: &[String],
) -> Result<Map> {
    let mut content = body.object("creation_content")?.cloned().unwrap_or_default();
    content.insert("room_version".to_owned(), version.id.into());
    if version.creator_is_sender {
        content.remove("creator");
    } else {
        content.insert("creator".to_owned(), creator.id.as_str().into());
    }
    if version.privileged_creators {
        let mut creators = match content.remove("additional_creators") {
            Some(asked) => additional_creators(&asked)?,
            None => Vec::new(),
        };
        if preset == Preset::TrustedPrivate {
            creators.extend(invite.iter().cloned());
        }
        set_additional_creators(&mut content, creator, creators);
    }
    Ok(content)
}

/// Reads `additional_creators`. 400 `M_BAD_JSON` if it is not an array of user ids.
pub fn additional_creators(value: &Value) -> Result<Vec<String>> {
    let user_id = |value: &Value| value.as_str().filter(|user_id| is_user_id(user_id)).map(str::to_owned);
    let creators = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(creators) => {
            check_length("additional_creators", creators.len(), MAX_CREATORS)?;
            creators.iter().map(user_id).collect()
        }
        _ => None,
    };
    creators.ok_or_else(|| MatrixError::bad_json("`additional_creators` must be an array of user ids."))
}

/// Sets `additional_creators` in the content of a create event, each user once.
pub fn set_additional_creators(content: &mut Map, creator: &User, creators: Vec<String>) {
    let mut each_once: Vec<Value> = Vec::new();
    for user_id in creators {
        if user_id != creator.id && !each_once.contains(&user_id.as_str().into()) {
            each_once.push(user_id.into());
        }
    }
    if !each_once.is_empty() {
        content.insert("additional_creators".to_owned(), each_once.into());
    }
}

fn initial_state(body: &Body) -> Result<Vec<InitialState>> {
    let malformed =
        || MatrixError::bad_json("`initial_state` must be an array of objects with `type` and `content`.");
    let entries = body.array("initial_state")?.unwrap_or_default();
    check_length("initial_state", entries.len(), MAX_INITIAL_STATE)?;
    entries
        .iter()
        .map(|entry| {
            let state_key = match entry.get("state_key") {
                None | Some(Value::Null) => "",
                Some(state_key) => state_key.as_str().ok_or_else(malformed)?,
            };
            Ok(InitialState {
                event_type: entry.get("type").and_then(Value::as_str).ok_or_else(malformed)?.to_owned(),
                state_key: state_key.to_owned(),
                content: entry.get("content").and_then(Value::as_object).ok_or_else(malformed)?.clone(),
            })
        })
        .collect()
}
