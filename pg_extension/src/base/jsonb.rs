//! JSON text as `jsonb`, where `jsonb` can hold it.

use std::ffi::CString;

use pgrx::datum::FromDatum;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{AnyElement, PgSqlErrorCode, PgTryBuilder, direct_function_call_as_datum, pg_extern, pg_sys};

/// `document` as `jsonb`; NULL for what is no JSON, and for JSON that `jsonb` cannot hold.
///
/// Without a subtransaction, which parallel plans cannot have. That is sound here: the input function of
/// `jsonb` only reads its argument and allocates memory, which the calling query frees.
#[pg_extern(immutable, parallel_safe)]
fn json_or_null(document: &str) -> Option<AnyElement> {
    // A `text` has no NUL byte.
    let document = CString::new(document).ok()?;
    let convert = || {
        // SAFETY: `jsonb_in` takes a C string, which lives until it returns, and returns a `jsonb`.
        unsafe {
            let datum = direct_function_call_as_datum(
                pg_sys::jsonb_in,
                &[Some(pg_sys::Datum::from(document.as_ptr()))],
            )?;
            AnyElement::from_polymorphic_datum(datum, false, pg_sys::JSONBOID)
        }
    };
    PgTryBuilder::new(convert).catch_others(null_for_bad_input).execute()
}

/// NULL if the text was the reason; everything else, such as a cancelled query, remains an error.
fn null_for_bad_input(error: CaughtError) -> Option<AnyElement> {
    match &error {
        CaughtError::PostgresError(report)
            if [PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED]
                .map(class)
                .contains(&class(report.sql_error_code())) =>
        {
            None
        }
        _ => error.rethrow(),
    }
}

/// The class of an SQLSTATE: its first two characters, of six bits each.
fn class(code: PgSqlErrorCode) -> i32 {
    code as i32 & 0xfff
}
