#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use axum::http::StatusCode;
use tokio_postgres::error::SqlState;

use super::{Remedy, matrix_error, of_state};
use crate::base::error::ApiError;

fn remedy(code: &str) -> Remedy {
    of_state(&SqlState::from_code(code), || None)
}

#[test]
fn conflicts_are_retried() {
    assert_eq!(remedy("40001"), Remedy::Retry);
    assert_eq!(remedy("40P01"), Remedy::Retry);
}

#[test]
fn stale_plans_are_prepared_anew() {
    assert_eq!(remedy("0A000"), Remedy::Reprepare);
    assert_eq!(remedy("26000"), Remedy::Reprepare);
    assert_eq!(remedy("42P05"), Remedy::Reprepare);
    assert_eq!(remedy("XX000"), Remedy::TryAnew);
}

#[test]
fn an_absent_full_or_restarting_database_is_unavailable() {
    for code in ["08006", "08003", "57P01", "57P02", "57P03", "53300", "53100", "57014", "25006"] {
        assert_eq!(remedy(code), Remedy::Unavailable, "{code}");
    }
}

#[test]
fn a_database_of_another_version_or_without_rights_does_not_fit() {
    for code in ["42883", "42P01", "42703", "3F000", "42501", "58P01"] {
        assert_eq!(remedy(code), Remedy::Misfit, "{code}");
    }
}

#[test]
fn other_errors_are_bugs() {
    for code in ["23505", "42601", "22P02", "38000"] {
        assert_eq!(remedy(code), Remedy::Bug, "{code}");
    }
}

#[test]
fn a_nul_character_is_the_clients_mistake() {
    assert!(matches!(remedy("22021"), Remedy::Answer(error) if error.errcode == "M_INVALID_PARAM"));
}

#[test]
fn a_raised_matrix_error_keeps_status_code_and_extra_members() {
    let error = matrix_error(r#"{"errcode":"M_ROOM_IN_USE","error":"Taken","room":"x"}"#, "400").unwrap();
    let expected = ApiError::new(StatusCode::BAD_REQUEST, "M_ROOM_IN_USE", "Taken").with("room", "x");
    assert_eq!(error, expected);
    assert_eq!(matrix_error("not json", "400"), None);
    assert_eq!(matrix_error(r#"{"errcode":"M_X","error":""}"#, "none"), None);
}
