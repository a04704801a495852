//! Classifies database errors, by SQLSTATE and never by text.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;

use axum::http::StatusCode;
use serde_json::{Map, Value};
use tokio_postgres::error::{DbError, SqlState};

use crate::base::error::ApiError;

/// What to do after a statement failed.
#[derive(Debug, PartialEq)]
pub enum Remedy {
    /// Run it again: it conflicted with another transaction.
    Retry,
    /// Run it again on another connection: the kept plan is stale, or a function was replaced meanwhile. If
    /// that fails as well, answer 503.
    Reprepare,
    /// As [`Self::Reprepare`], but a second failure is a [`Self::Bug`].
    TryAnew,
    /// Answer 503: the database is not reachable, full or restarting.
    Unavailable,
    /// Answer 503: tables, functions or rights are not those that this program needs.
    Misfit,
    /// Answer with this error.
    Answer(ApiError),
    /// Log it and answer 500: it should not happen.
    Bug,
}

/// Classifies an error of a statement or its connection.
pub fn remedy(error: &tokio_postgres::Error) -> Remedy {
    if let Some(db) = error.as_db_error() {
        return of_state(db.code(), || raised(db));
    }
    let io = error.source().is_some_and(|source| source.is::<io::Error>());
    if io || error.is_closed() { Remedy::Unavailable } else { Remedy::Bug }
}

/// Whether the connection must not be used again after this error.
pub fn needs_another_connection(error: &tokio_postgres::Error) -> bool {
    // A time limit ended the statement, not the connection, whose plans and caches are of use.
    error.code().is_none_or(|code| code.code() != "57014")
        && matches!(remedy(error), Remedy::Reprepare | Remedy::TryAnew | Remedy::Unavailable | Remedy::Misfit)
}

/// Classifies an SQLSTATE. `raised` reads the Matrix error, if the state is that of Matrix errors.
fn of_state(state: &SqlState, raised: impl FnOnce() -> Option<ApiError>) -> Remedy {
    let code = state.code();
    match code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Remedy::Retry,
        // feature_not_supported: "cached plan must not change result type", and what a standby cannot do;
        // invalid_sql_statement_name, duplicate_prepared_statement: a pooler that mixes statements up
        "0A000" | "26000" | "42P05" => Remedy::Reprepare,
        // internal_error: "cache lookup failed for function", where a migration replaced it just now
        "XX000" => Remedy::TryAnew,
        // undefined_function, undefined_table, undefined_column, undefined_object, invalid_schema_name,
        // insufficient_privilege, undefined_file: "could not access file" of the extension's library
        "42883" | "42P01" | "42703" | "42704" | "3F000" | "42501" | "58P01" => Remedy::Misfit,
        // external_routine_exception: the function raised a Matrix error to undo its writes
        "38000" => raised().map_or(Remedy::Bug, Remedy::Answer),
        // character_not_in_repertoire, untranslatable_character: U+0000 in a parameter
        "22021" | "22P05" => Remedy::Answer(ApiError::invalid_param("A parameter holds a NUL character")),
        // program_limit_exceeded: a value too long for an index
        "54000" => Remedy::Answer(ApiError::invalid_param("A parameter is too long")),
        // query_canceled, lock_not_available, read_only_sql_transaction: a time limit, or a server that
        // became a standby
        "57014" | "55P03" | "25006" => Remedy::Unavailable,
        // connection exceptions, insufficient resources, operator intervention
        _ if ["08", "53", "57"].contains(&&code[..2]) => Remedy::Unavailable,
        _ => Remedy::Bug,
    }
}

/// Reads a Matrix error from a PostgreSQL error: the body is in the message, the status in the detail.
fn raised(error: &DbError) -> Option<ApiError> {
    matrix_error(error.message(), error.detail()?)
}

fn matrix_error(body: &str, status: &str) -> Option<ApiError> {
    let status = StatusCode::from_u16(status.trim().parse().ok()?).ok()?;
    let mut extra: Map<String, Value> = serde_json::from_str(body).ok()?;
    let errcode = extra.remove("errcode")?.as_str()?.to_owned();
    let message = extra.remove("error")?.as_str()?.to_owned();
    Some(ApiError { extra, ..ApiError::new(status, errcode, message) })
}
