//! Client-Server API, "Fallback": a page for clients that do not know a stage.

use std::borrow::Cow;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::stage::Stage;
use super::terms;
use crate::app::App;
use crate::base::error::ApiError;
use crate::http::{ClientRoutes, Path, Query, hash_token};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/auth/{auth_type}/fallback/web", get(page).post(submit))
}

#[derive(Deserialize)]
struct PageQuery {
    session: String,
}

#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    agreed: String,
    #[serde(default)]
    versions: String,
}

const DUMMY: &str = "<form method='post'><p>Nothing is asked of you.</p><button>Continue</button></form>";
const TOKEN: &str = "<form method='post'><p><label>Registration token \
    <input name='token' maxlength='64' autocomplete='off' required autofocus></label></p>\
    <button>Continue</button></form>";
const WRONG_TOKEN: &str = "<p role='alert'>This registration token is not good.</p>";
const NOT_AGREED: &str = "<p role='alert'>You cannot register without agreeing to these documents.</p>";
const UNKNOWN: &str = "<p>This session has ended, or never was. Please start again in your client.</p>";
const NO_PAGE: &str = "<p>There is no page for this kind of authentication.</p>";
const DONE: &str = "<p>Thank you. You may close this window and go back to your client.</p><script>
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage('authDone', '*');
}
</script>";

/// `GET /_matrix/client/v3/auth/{authType}/fallback/web`
///
/// Loading the page completes nothing, since another site could load it, for example as an image.
async fn page(
    State(app): State<App>,
    Path(auth_type): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let Some(form) = Stage::named(&auth_type).and_then(|stage| form(&app, stage)) else {
        return Ok(html(StatusCode::NOT_FOUND, &[NO_PAGE]));
    };
    let hash = hash_token(&query.session);
    let known = app.db.query_opt(include_str!("find.sql"), &[&hash.as_slice()]).await?.is_some();
    Ok(if known { html(StatusCode::OK, &[&form]) } else { html(StatusCode::BAD_REQUEST, &[UNKNOWN]) })
}

/// `POST /_matrix/client/v3/auth/{authType}/fallback/web`: the page's form.
async fn submit(
    State(app): State<App>,
    Path(auth_type): Path<String>,
    Query(query): Query<PageQuery>,
    form_body: Result<Form<Answer>, FormRejection>,
) -> Result<Response, ApiError> {
    let Some((stage, form)) = Stage::named(&auth_type).and_then(|stage| Some((stage, form(&app, stage)?)))
    else {
        return Ok(html(StatusCode::NOT_FOUND, &[NO_PAGE]));
    };
    let Form(answer) = form_body.unwrap_or_default();
    let auth = Map::from_iter([("token".to_owned(), Value::from(answer.token.trim()))]);
    // The form contains the versions that the page showed; the stage checks that they are still current.
    let presented = if answer.agreed == "yes" { serde_json::from_str(&answer.versions).ok() } else { None };
    let Ok(proof) = stage.check(&app, None, presented.as_ref(), &auth).await? else {
        let reason = if stage == Stage::Terms { NOT_AGREED } else { WRONG_TOKEN };
        return Ok(html(StatusCode::OK, &[reason, &form]));
    };
    let hash = hash_token(&query.session);
    let sql = include_str!("complete.sql");
    let completed = json!({ stage.name(): proof });
    let known = app.db.query_opt(sql, &[&hash.as_slice(), &completed]).await?.is_some();
    Ok(if known { html(StatusCode::OK, &[DONE]) } else { html(StatusCode::BAD_REQUEST, &[UNKNOWN]) })
}

/// The form of a stage that has a page. The password stage has none, as the client itself asks for passwords.
fn form(app: &App, stage: Stage) -> Option<Cow<'static, str>> {
    match stage {
        Stage::Dummy => Some(DUMMY.into()),
        Stage::RegistrationToken => Some(TOKEN.into()),
        Stage::Terms => {
            let policies = &app.config.registration.terms;
            (!policies.is_empty()).then(|| terms::form(policies).into())
        }
        Stage::Password => None,
    }
}

fn html(status: StatusCode, parts: &[&str]) -> Response {
    const HEADERS: [(header::HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; script-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
            ),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let head = "<!doctype html><html lang='en'><meta charset='utf-8'>\
        <meta name='viewport' content='width=device-width'><title>Authentication</title>";
    (status, HEADERS, format!("{head}{}</html>", parts.concat())).into_response()
}
