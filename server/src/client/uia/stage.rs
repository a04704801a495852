//! The stages of user-interactive authentication. Client-Server API, "Authentication types".

use matriarch_rules::identifiers::is_opaque_identifier;
use serde_json::{Map, Value};

use super::{Failure, terms};
use crate::accounts::names;
use crate::accounts::password;
use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::client::identifier::Identifier;

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The user's password.
    Password,
    /// Always succeeds.
    Dummy,
    /// A valid registration token. Its use is counted when the account is created.
    RegistrationToken,
    /// Consent to the configured documents, in the versions that the client was shown.
    Terms,
}

impl Stage {
    /// The stage with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Password, Self::Dummy, Self::RegistrationToken, Self::Terms]
            .into_iter()
            .find(|stage| stage.name() == name)
    }

    /// `m.login.…`
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Terms => "m.login.terms",
        }
    }

    /// Checks what the client sent for the stage. Returns what it proved, or why it failed. `presented` are
    /// the versions of the documents that the client was shown.
    pub async fn check(
        self,
        app: &App,
        user: Option<&Session>,
        presented: Option<&Value>,
        auth: &Map<String, Value>,
    ) -> Result<Result<Value, Failure>, ApiError> {
        match self {
            Self::Password => check_password(app, user, auth).await,
            Self::Dummy => Ok(Ok(Value::Bool(true))),
            Self::Terms => {
                let versions = terms::versions(&app.config.registration.terms);
                Ok(if presented == Some(&versions) {
                    Ok(versions)
                } else {
                    Err(("M_FORBIDDEN", "The documents to agree to were not shown yet, or have changed"))
                })
            }
            Self::RegistrationToken => match auth.get("token") {
                Some(Value::String(token)) if is_registration_token(app, token).await? => {
                    Ok(Ok(Value::from(token.as_str())))
                }
                Some(Value::String(_)) => Ok(Err(("M_FORBIDDEN", "The registration token is not good"))),
                _ => Ok(Err(("M_MISSING_PARAM", "The stage needs a token"))),
            },
        }
    }
}

async fn check_password(
    app: &App,
    user: Option<&Session>,
    auth: &Map<String, Value>,
) -> Result<Result<Value, Failure>, ApiError> {
    let Some(Value::String(password)) = auth.get("password") else {
        return Ok(Err(("M_MISSING_PARAM", "The stage needs a password")));
    };
    let Some(user) = user else {
        return Ok(Err(("M_FORBIDDEN", "There is no user whose password could be checked")));
    };
    // The access token identifies the user; an identifier of another user is an error or an attack.
    let named = match Identifier::of(auth)? {
        Identifier::User(name) => names::login_candidates(&name, &app.config.server_name)
            .is_some_and(|candidates| candidates.contains(&user.user_id)),
        Identifier::Absent => true,
        Identifier::ThirdParty => false,
    };
    let row = app.db.query_opt(include_str!("../../accounts/password_hash.sql"), &[&user.user_nid]).await?;
    let hash: Option<String> = row.filter(|_| named).and_then(|row| row.get("password_hash"));
    // The token shows whose password it is, so that only who has one of this account can use its attempts up.
    let attempt = app.rates.password(None, Some(&format!("session of {}", user.user_id)))?;
    if !password::verify(password, hash.as_deref(), &user.user_id).await? {
        return Ok(Err(("M_FORBIDDEN", "Wrong user or password")));
    }
    attempt.was_right();
    Ok(Ok(Value::Bool(true)))
}

/// Whether a registration token is valid now.
pub async fn is_registration_token(app: &App, token: &str) -> Result<bool, ApiError> {
    // All tokens have this form, and PostgreSQL cannot store U+0000.
    if !is_opaque_identifier(token) {
        return Ok(false);
    }
    let row = app.db.query_opt(include_str!("../../accounts/registration_token.sql"), &[&token]).await?;
    Ok(row.is_some_and(|row| row.get("valid")))
}
