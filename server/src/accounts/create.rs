//! Creates accounts.

use axum::http::StatusCode;
use serde_json::Value;

use super::tokens::Grant;
use crate::base::error::ApiError;
use crate::database::Db;

/// An account to create.
pub struct NewAccount<'a> {
    /// The full user id.
    pub user_id: &'a str,
    /// The first display name.
    pub display_name: &'a str,
    /// A PHC string, from [`crate::accounts::password::hash`].
    pub password_hash: &'a str,
    pub admin: bool,
    /// The registration token, whose use is counted when the account is created.
    pub registration_token: Option<&'a str>,
    /// The versions of the documents that the user agreed to, by the documents' ids.
    pub agreed_terms: Option<&'a Value>,
    /// `None`: the user is not logged in.
    pub device: Option<NewDevice<'a>>,
}

/// The device that the registration logs in.
pub struct NewDevice<'a> {
    pub device_id: &'a str,
    pub display_name: Option<&'a str>,
    pub grant: &'a Grant,
}

/// Creates an account, with or without a login, in one step.
///
/// Fails with 400 `M_USER_IN_USE`, and with 403 `M_FORBIDDEN` if the registration token was used up after it
/// was checked.
pub async fn create(db: &Db, account: &NewAccount<'_>) -> Result<(), ApiError> {
    let device = account.device.as_ref();
    let grant = device.map(|device| device.grant);
    let row = db
        .query_opt(
            include_str!("create.sql"),
            &[
                &account.user_id,
                &account.password_hash,
                &account.admin,
                &Value::from(account.display_name).to_string(),
                &account.registration_token,
                &device.map(|device| device.device_id),
                &device.and_then(|device| device.display_name),
                &grant.map(Grant::access_hash),
                &grant.and_then(Grant::lifetime_seconds),
                &grant.and_then(Grant::refresh_hash),
                &account.agreed_terms,
            ],
        )
        .await?
        .ok_or_else(ApiError::internal)?;
    if !row.get::<_, bool>("token_served") {
        return Err(ApiError::forbidden("The registration token is no longer good"));
    }
    if !row.get::<_, bool>("name_free") {
        return Err(name_in_use());
    }
    Ok(())
}

/// Refuses a name that an account has or ever had: 400 `M_USER_IN_USE`.
pub async fn check_free(db: &Db, user_id: &str) -> Result<(), ApiError> {
    let row = db.query_opt(include_str!("name_taken.sql"), &[&user_id]).await?;
    if row.is_some_and(|row| row.get("taken")) { Err(name_in_use()) } else { Ok(()) }
}

fn name_in_use() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "M_USER_IN_USE", "The user name is taken")
}
