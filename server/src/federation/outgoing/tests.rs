use std::future::{pending, ready};

use super::{ApiError, Deliveries, FederationError, StatusCode, is_refusal};

fn refused(status: u16) -> FederationError {
    let (errcode, error) = ("M_UNKNOWN".to_owned(), String::new());
    let status = StatusCode::from_u16(status).expect("a status");
    let extra = serde_json::Map::new();
    FederationError::Refused { server: "s.example".to_owned(), status, errcode, error, extra }
}

#[test]
fn what_the_request_is_to_blame_for_is_a_refusal() {
    for status in [400, 405, 409, 413, 414, 422] {
        assert!(is_refusal(&refused(status)), "{status}");
    }
    assert!(is_refusal(&FederationError::Internal(ApiError::internal())));
}

#[test]
fn what_may_pass_is_none() {
    for status in [301, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
        assert!(!is_refusal(&refused(status)), "{status}");
    }
    let (server, reason) = ("s.example".to_owned(), String::new());
    let unavailable = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The database is away");
    for error in [
        FederationError::NotAdmitted(server.clone()),
        FederationError::Unreachable { server: server.clone(), reason: reason.clone() },
        FederationError::BadAnswer { server, reason },
        FederationError::Internal(unavailable),
    ] {
        assert!(!is_refusal(&error), "{error}");
    }
}

#[tokio::test]
async fn deliveries_that_ended_are_forgotten_whatever_the_end() {
    let mut deliveries = Deliveries::default();
    deliveries.spawn(1, pending());
    deliveries.spawn(2, ready(()));
    deliveries.spawn(3, async { panic!("a delivery that fails") });
    deliveries.spawn(4, pending());
    assert_eq!(deliveries.destinations().collect::<Vec<_>>(), [1, 2, 3, 4]);
    while deliveries.destinations().count() > 2 {
        tokio::task::yield_now().await;
        deliveries.reap();
    }
    assert_eq!(deliveries.destinations().collect::<Vec<_>>(), [1, 4]);
    assert_eq!(deliveries.by_task.len(), 2);
}
