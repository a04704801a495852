//! The rules of Matrix rooms, and what else of the extension is pure: no I/O, no SQL, no clock, no
//! randomness.
//!
//! This crate decides what a valid event is and whether a room accepts it. The caller supplies the events
//! (through closures), the keys and the time. Modules, from those that depend on nothing to those that depend
//! on most:
//!
//! - [`mod@room_version`]: the differences between room versions, as named switches;
//! - [`json`], [`canonical_json`], [`base64`], [`identifiers`]: the formats that events are written in;
//! - [`glob`], [`property_path`], [`third_party_id`], [`key_representation`], [`space`]: small formats of
//!   other parts of the specification;
//! - [`redaction`], [`hash`], [`signature`]: redacted events, their hashes and signatures;
//! - [`event`]: a view of an event's JSON, and the checks of its format;
//! - [`power_levels`], [`auth`]: the authorization rules;
//! - [`state_resolution`]: the state of a room where branches of its event graph join;
//! - [`build`]: making local events;
//! - [`mod@topological_order`]: the order in which intake decides on the events of a batch;
//! - [`notifications`], [`filter`]: whom an event notifies, and which events a client requests;
//! - [`sync_token`], [`json_text`]: the parts that answers to clients are made of.

pub mod auth;
pub mod base64;
pub mod build;
pub mod canonical_json;
pub mod event;
pub mod filter;
pub mod glob;
pub mod hash;
pub mod identifiers;
pub mod json;
pub mod json_text;
pub mod key_representation;
pub mod notifications;
pub mod power_levels;
pub mod property_path;
pub mod redaction;
pub mod room_version;
pub mod server_acl;
pub mod signature;
pub mod space;
pub mod state_resolution;
pub mod sync_token;
pub mod third_party_id;
pub mod topological_order;

pub use auth::{Rejection, auth_types_for_event, check_state_dependent, check_state_independent};
pub use build::EventBuilder;
pub use event::Event;
pub use room_version::{RoomVersion, room_version};
pub use signature::KeyPair;
pub use topological_order::topological_order;

/// A JSON object. Its keys are always sorted by Unicode code point, as canonical JSON requires.
pub type Map = serde_json::Map<String, serde_json::Value>;
