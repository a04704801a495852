//! Client-Server API, "Identifier types": how a client names a user who authenticates.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::base::error::ApiError;

/// The user that a client names.
#[derive(Debug, PartialEq, Eq)]
pub enum Identifier {
    /// A full user id or a localpart.
    User(String),
    /// An e-mail address or a phone number. This server stores none.
    ThirdParty,
    /// The client named no user.
    Absent,
}

impl Identifier {
    /// Reads `identifier`, or the deprecated `user`, `medium` and `address` beside it.
    ///
    /// Fails with 400 `M_BAD_JSON` or `M_MISSING_PARAM` if the identifier is malformed, and with
    /// `M_UNRECOGNIZED` if its type is unknown.
    pub fn of(object: &Map<String, Value>) -> Result<Self, ApiError> {
        let (fields, kind) = match object.get("identifier") {
            Some(Value::Object(fields)) => (fields, text(fields, "type")?),
            None | Some(Value::Null) => (object, None),
            Some(_) => return Err(ApiError::bad_json("identifier must be an object")),
        };
        let third_party = fields.contains_key("medium") && fields.contains_key("address");
        match kind {
            Some("m.id.user") => match text(fields, "user")? {
                Some(user) => Ok(Self::User(user.to_owned())),
                None => Err(ApiError::missing_param("identifier.user")),
            },
            Some("m.id.thirdparty" | "m.id.phone") => Ok(Self::ThirdParty),
            Some(_) => Err(ApiError::new(
                axum::http::StatusCode::BAD_REQUEST,
                "M_UNRECOGNIZED",
                "Unknown type of identifier",
            )),
            None => Ok(match text(fields, "user")? {
                Some(user) => Self::User(user.to_owned()),
                None if third_party => Self::ThirdParty,
                None => Self::Absent,
            }),
        }
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::bad_json(format!("{name} must be a string"))),
    }
}
