#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::{get, post, put};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::{
    AccessToken, ClientRoutes, Hosts, JsonBody, JsonBodyOrEmpty, Path, Query, RawJsonBody, finish, hash_token,
};
use crate::app::App;
use crate::base::error::ApiError;
use crate::base::statements::count_statements;
use crate::config::{Config, Listener};
use crate::database::{Db, Target};
use crate::hub::Hub;

#[derive(Deserialize)]
struct Login {
    user: String,
    #[serde(default)]
    tries: u8,
}

#[derive(Deserialize)]
struct Page {
    from: String,
    limit: Option<u32>,
}

/// A node without a database.
fn app() -> App {
    app_on(tokio_postgres::Config::new())
}

/// A node on this database.
fn app_on(database: tokio_postgres::Config) -> App {
    let mut config = Config::default();
    config.limits.max_body_size = 100;
    config.debug.statements_header = true;
    let db = Db::new(Target::without_tls(database).unwrap(), &config.database).unwrap();
    App::new(config, db, Hub::new()).expect("a configuration for TLS and DNS")
}

/// What a listener that is not on the loopback interface answers to.
fn any_host() -> Hosts {
    Hosts::of(&Listener::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8008), &Config::default())
}

fn router() -> Router {
    let state_key = |Path(path): Path<Vec<(String, String)>>| async move {
        path.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join("|")
    };
    let routes = Router::new()
        .client_v3("/rooms/{room_id}/state/{type}/{key}", get(state_key))
        .client_v3("/rooms/{room_id}/state/{type}/", get(state_key))
        .client_v1("/token", get(|token: AccessToken| async move { hex(token.hash()) }))
        .client_v1(
            "/optional",
            get(|token: Option<AccessToken>| async move { if token.is_some() { "some" } else { "none" } }),
        )
        .client_v1(
            "/page",
            get(|Query(page): Query<Page>| async move { format!("{} {:?}", page.from, page.limit) }),
        )
        .client_v1(
            "/login",
            post(|JsonBody(login): JsonBody<Login>| async move { format!("{} {}", login.user, login.tries) }),
        )
        .client_v1(
            "/leave",
            post(|JsonBodyOrEmpty(body): JsonBodyOrEmpty<Map<String, Value>>| async move {
                body.len().to_string()
            }),
        )
        .client_v1("/send", put(|RawJsonBody(text): RawJsonBody| async move { text }))
        .client_v1("/secret", post(|_token: AccessToken, RawJsonBody(text): RawJsonBody| async move { text }))
        .client_v1(
            "/panic",
            get(|| async {
                if true {
                    panic!("a bug")
                }
            }),
        )
        .client_v1("/count", get(|| async { count_statements(2) }));
    finish(routes, app(), any_host(), true)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn send(request: Request<Body>) -> (StatusCode, Response<Body>) {
    let response = router().oneshot(request).await.unwrap();
    (response.status(), response)
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn fetch(method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let (status, response) = send(request).await;
    (status.as_u16(), text(response).await)
}

async fn refused(method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    let (status, body) = fetch(method, path, body).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["error"].is_string());
    (status, body["errcode"].as_str().unwrap().to_owned())
}

fn error(status: u16, errcode: &str) -> (u16, String) {
    (status, errcode.to_owned())
}

#[tokio::test]
async fn endpoints_have_a_v3_and_an_r0_path() {
    for version in ["v3", "r0"] {
        let path = format!("/_matrix/client/{version}/rooms/!a:b/state/m.room.name/x");
        assert_eq!(fetch("GET", &path, "").await, (200, "!a:b|m.room.name|x".to_owned()));
    }
}

#[tokio::test]
async fn path_parameters_are_decoded_once_and_a_slash_in_them_is_no_separator() {
    let path = "/_matrix/client/v3/rooms/%21a%3Ab/state/x%2Fy%2525/%E2%82%AC+";
    assert_eq!(fetch("GET", path, "").await, (200, "!a:b|x/y%25|€+".to_owned()));
}

#[tokio::test]
async fn an_empty_last_parameter_is_a_path_of_its_own() {
    let path = "/_matrix/client/v3/rooms/!a:b/state/m.room.name/";
    assert_eq!(fetch("GET", path, "").await, (200, "!a:b|m.room.name".to_owned()));
}

#[tokio::test]
async fn parameters_that_sql_cannot_hold_are_refused() {
    for bad in ["%00", "a%00b", "%FF", "%C3%28"] {
        let path = format!("/_matrix/client/v3/rooms/{bad}/state/t/k");
        assert_eq!(refused("GET", &path, "").await, error(400, "M_INVALID_PARAM"), "{bad}");
        let query = format!("/_matrix/client/v1/page?from={bad}");
        assert_eq!(refused("GET", &query, "").await, error(400, "M_INVALID_PARAM"), "{bad}");
    }
}

#[tokio::test]
async fn query_parameters_are_read_strictly() {
    let page = |query: &str| format!("/_matrix/client/v1/page?{query}");
    assert_eq!(
        fetch("GET", &page("from=a%20b+c&limit=3&other"), "").await,
        (200, "a b c Some(3)".to_owned())
    );
    assert_eq!(refused("GET", &page("limit=3"), "").await, error(400, "M_MISSING_PARAM"));
    assert_eq!(refused("GET", &page("from=a&limit=-3"), "").await, error(400, "M_INVALID_PARAM"));
    assert_eq!(refused("GET", &page("from=a&from=b"), "").await, error(400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn tokens_come_by_header_or_query_and_go_no_further_than_their_hash() {
    let hash = hex(&hash_token("secret"));
    let by_header = |value: &str| {
        let request = Request::builder().uri("/_matrix/client/v1/token").header("Authorization", value);
        send(request.body(Body::empty()).unwrap())
    };
    for value in ["Bearer secret", "bearer secret", "Bearer  secret "] {
        assert_eq!(text(by_header(value).await.1).await, hash, "{value:?}");
    }
    assert_eq!(fetch("GET", "/_matrix/client/v1/token?access_token=secret", "").await, (200, hash));
    for value in ["Bearer", "Bearer ", "Basic secret"] {
        assert_eq!(by_header(value).await.0, 401, "{value:?}");
    }
    assert_eq!(refused("GET", "/_matrix/client/v1/token", "").await, error(401, "M_MISSING_TOKEN"));
    assert_eq!(fetch("GET", "/_matrix/client/v1/optional", "").await, (200, "none".to_owned()));
    assert_eq!(format!("{:?}", AccessToken::of("secret")), "AccessToken");
}

#[tokio::test]
async fn a_missing_token_is_told_before_a_bad_body() {
    assert_eq!(refused("POST", "/_matrix/client/v1/secret", "{").await, error(401, "M_MISSING_TOKEN"));
}

#[tokio::test]
async fn json_bodies_need_no_content_type() {
    let login = "/_matrix/client/v1/login";
    assert_eq!(fetch("POST", login, r#"{"user": "a", "tries": 2}"#).await, (200, "a 2".to_owned()));
}

#[tokio::test]
async fn bad_bodies_get_the_errors_of_the_specification() {
    let login = "/_matrix/client/v1/login";
    for body in ["", "{", "nonsense", "{'user': 'a'}", r#"{"user": "a"} x"#] {
        assert_eq!(refused("POST", login, body).await, error(400, "M_NOT_JSON"), "{body}");
    }
    let invalid_utf8: &[u8] = b"{\"user\": \"\xff\"}";
    assert_eq!(refused("POST", login, invalid_utf8).await, error(400, "M_NOT_JSON"));
    for body in
        ["[]", "1", "null", r#"{"user": 1}"#, r#"{"user": "a", "tries": 300}"#, r#"{"user":"a","user":"b"}"#]
    {
        assert_eq!(refused("POST", login, body).await, error(400, "M_BAD_JSON"), "{body}");
    }
    assert_eq!(refused("POST", login, "{}").await, error(400, "M_MISSING_PARAM"));
}

#[tokio::test]
async fn a_body_may_be_absent_where_clients_leave_it_out() {
    assert_eq!(fetch("POST", "/_matrix/client/v1/leave", "").await, (200, "0".to_owned()));
    assert_eq!(refused("POST", "/_matrix/client/v1/leave", "[]").await, error(400, "M_BAD_JSON"));
}

#[tokio::test]
async fn raw_bodies_are_handed_on_to_the_byte() {
    let body = "{ \"b\": 1,\n \"a\": \"\\u0000\" }";
    assert_eq!(fetch("PUT", "/_matrix/client/v1/send", body).await, (200, body.to_owned()));
    assert_eq!(refused("PUT", "/_matrix/client/v1/send", "[]").await, error(400, "M_BAD_JSON"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    for size in [101, 1_000, 100_000] {
        let refused = refused("PUT", "/_matrix/client/v1/send", "x".repeat(size)).await;
        assert_eq!(refused, error(413, "M_TOO_LARGE"));
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_unrecognized() {
    for path in ["/", "/_matrix", "/_matrix/client/v3/nothing", "/_matrix/client/v1/token/"] {
        assert_eq!(refused("GET", path, "").await, error(404, "M_UNRECOGNIZED"), "{path}");
    }
    assert_eq!(refused("DELETE", "/_matrix/client/v1/token", "").await, error(405, "M_UNRECOGNIZED"));
}

#[tokio::test]
async fn a_panic_is_an_internal_error() {
    assert_eq!(refused("GET", "/_matrix/client/v1/panic", "").await, error(500, "M_UNKNOWN"));
}

#[tokio::test]
async fn every_answer_lets_browsers_in() {
    let requests = [("GET", "/nothing"), ("OPTIONS", "/nothing"), ("OPTIONS", "/_matrix/client/v1/token")];
    let more = [
        ("GET", "/_matrix/client/v1/token"),
        ("PUT", "/_matrix/client/v1/token"),
        ("GET", "/_matrix/client/v1/panic"),
    ];
    for (method, path) in requests.into_iter().chain(more) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (status, response) = send(request).await;
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(header("access-control-allow-methods"), "GET, POST, PUT, DELETE, OPTIONS");
        assert_eq!(header("access-control-allow-headers"), "X-Requested-With, Content-Type, Authorization");
        assert!(method != Method::OPTIONS.as_str() || status.is_success());
    }
}

#[tokio::test]
async fn request_ids_are_taken_over_if_they_are_plain() {
    let with_id = |id: &str| {
        let request = Request::builder().uri("/_matrix/client/v1/count").header("X-Request-Id", id);
        send(request.body(Body::empty()).unwrap())
    };
    let id = |response: &Response<Body>| response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id(&with_id("abc-1").await.1), "abc-1");
    for bad in ["two words", &"x".repeat(200)] {
        assert_eq!(id(&with_id(bad).await.1).len(), 16);
    }
}

#[tokio::test]
async fn statements_are_counted_for_each_request() {
    let request = Request::builder().uri("/_matrix/client/v1/count").body(Body::empty()).unwrap();
    assert_eq!(send(request).await.1.headers()["x-matriarch-db-statements"], "2");
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_its_handler() {
    let app = app();
    let mark = app.hub.mark();
    let routes = Router::new().client_v1(
        "/slow",
        get(|State(app): State<App>| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            app.hub.wake(&[1], &[]);
        }),
    );
    let request = Request::builder().uri("/_matrix/client/v1/slow").body(Body::empty()).unwrap();
    let answer = finish(routes, app.clone(), any_host(), true).oneshot(request);
    assert!(tokio::time::timeout(Duration::from_millis(5), answer).await.is_err());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    assert_eq!(app.hub.wait(mark, 7, &[1], deadline).await, crate::hub::Woken::News);
}

#[tokio::test]
async fn without_a_database_requests_are_told_to_come_back() {
    let mut database = tokio_postgres::Config::new();
    database.host("127.0.0.1").port(1).user("nobody");
    let refusal = app_on(database).call("select 1", &[]).await.unwrap_err();
    assert_eq!(refusal, ApiError::unavailable());
    assert_eq!(json!(refusal.errcode), "M_UNKNOWN");
}
