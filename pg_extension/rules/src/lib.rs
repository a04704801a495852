//! Matrix room rules, pure: no I/O, no SQL, no clock, no randomness.
//!
//! Everything that decides what an event is and whether it may be in a room is here; the caller brings the
//! events (through closures), the keys and the time. From most abstract to most dependent:
//!
//! - [`mod@room_version`]: what differs between room versions, as named switches;
//! - [`json`], [`canonical_json`], [`base64`], [`identifiers`]: the formats everything is written in;
//! - [`glob`], [`property_path`], [`third_party_id`], [`key_representation`], [`space`]: small formats beside
//!   the rooms' own;
//! - [`redaction`], [`hash`], [`signature`]: what servers sign and compare;
//! - [`event`]: a view of an event's JSON, and the checks of its format;
//! - [`power_levels`], [`auth`]: the authorization rules;
//! - [`state_resolution`]: the state where branches of the event graph meet;
//! - [`build`]: how a server makes an event of its own.

pub mod auth;
pub mod base64;
pub mod build;
pub mod canonical_json;
pub mod event;
pub mod glob;
pub mod hash;
pub mod identifiers;
pub mod json;
pub mod key_representation;
pub mod power_levels;
pub mod property_path;
pub mod redaction;
pub mod room_version;
pub mod server_acl;
pub mod signature;
pub mod space;
pub mod state_resolution;
pub mod third_party_id;

pub use auth::{Rejection, auth_types_for_event, check_state_dependent, check_state_independent};
pub use build::EventBuilder;
pub use event::Event;
pub use room_version::{RoomVersion, room_version};
pub use signature::KeyPair;

/// A JSON object. Its keys are always sorted by Unicode code point, as canonical JSON wants them.
pub type Map = serde_json::Map<String, serde_json::Value>;
