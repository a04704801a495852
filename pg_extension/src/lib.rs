//! The PostgreSQL extension `matriarch`: Matrix rooms as SQL functions.
//!
//! Each `#[pg_extern]` is an adapter: decode arguments, call plain code, encode the answer. The SQL
//! declarations are in `pg_extension/sql/`, in files of the same names. `docs/architecture.md` is the map;
//! the tables in the other pages say which function serves which request.

mod append;
mod base;
mod client;
mod federation;
mod inspect;
mod intake;
mod outbox;
mod read;
mod room;
mod trie;

pgrx::pg_module_magic!();
