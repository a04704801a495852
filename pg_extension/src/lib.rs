//! The PostgreSQL extension `matriarch`: Matrix rooms as SQL functions.
//!
//! Each `#[pg_extern]` is an adapter: decode arguments, call plain code, encode the answer. The SQL declarations are
//! in `pg_extension/sql/`, one file per area; `docs/architecture.md` says which function serves which request.

mod append;
mod initialize;
mod response;
mod room;
mod session;
mod signing;
mod spi;
mod state;
mod users;

pgrx::pg_module_magic!();
