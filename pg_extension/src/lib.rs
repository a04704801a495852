//! The PostgreSQL extension `matriarch`: Matrix rooms as SQL functions.
//!
//! Each `#[pg_extern]` is an adapter: decode arguments, call plain code, encode the answer. The SQL declarations are
//! in `pg_extension/sql/`, one file per area; `docs/architecture.md` says which function serves which request.

mod account_data;
mod alias;
mod append;
mod check_auth;
mod checks;
mod cluster;
mod content;
mod context;
mod create_room;
mod cross_signing;
mod current_state;
mod device;
mod device_keys;
mod device_lists;
mod directory;
mod event;
mod event_fields;
mod events;
mod explain;
mod filter;
mod filters;
mod graph_events;
mod initial_sync;
mod initialize;
mod intake;
mod json_text;
mod key_backup;
mod lookup;
mod members;
mod membership;
mod messages;
mod page;
mod profile;
mod push_rules;
mod readable_room;
mod receipt;
mod refresh;
mod render;
mod repair;
mod request;
mod resolve;
mod response;
mod room;
mod room_state;
mod send;
mod session;
mod signing;
mod spi;
mod state;
mod state_at;
mod state_keys;
mod state_list;
mod stored_event;
mod sync;
mod tags;
mod timeline;
mod to_device;
mod token;
mod typing;
mod users;
mod verify;
mod visibility;

pgrx::pg_module_magic!();
