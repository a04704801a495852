use std::future::{pending, ready};

use super::{ApiError, Blame, Deliveries, FederationError, StatusCode, blame};

fn refused(status: u16) -> FederationError {
    let (errcode, error) = ("M_UNKNOWN".to_owned(), String::new());
    let status = StatusCode::from_u16(status).expect("a status");
    let extra = serde_json::Map::new();
    FederationError::Refused { server: "s.example".to_owned(), status, errcode, error, extra }
}

#[test]
fn the_contents_may_be_to_blame_for_a_definite_answer() {
    for status in [400, 401, 403, 404, 405, 409, 413, 414, 422] {
        assert_eq!(blame(&refused(status)), Blame::Perhaps { give_up_after: 1 }, "{status}");
    }
    assert_eq!(blame(&refused(500)), Blame::Perhaps { give_up_after: 3 });
    let own = FederationError::Internal(ApiError::internal());
    assert_eq!(blame(&own), Blame::Contents { give_up_after: 3 });
}

#[test]
fn the_destination_is_to_blame_for_all_else() {
    for status in [301, 408, 429, 502, 503, 504] {
        assert_eq!(blame(&refused(status)), Blame::Destination, "{status}");
    }
    let (server, reason) = ("s.example".to_owned(), String::new());
    let unavailable = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The database is away");
    for error in [
        FederationError::NotAdmitted(server.clone()),
        FederationError::Unreachable { server: server.clone(), reason: reason.clone() },
        FederationError::BadAnswer { server, reason },
        FederationError::Internal(unavailable),
    ] {
        assert_eq!(blame(&error), Blame::Destination, "{error}");
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
