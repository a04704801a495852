//! What crosses between the two tiers of Matriarch: the extension in PostgreSQL and the API nodes.
//!
//! A node calls SQL functions of the schema `matriarch`. Most arguments and answers are plain SQL values, or
//! the bodies of Matrix's own APIs, which pass through a node as they are. What one tier writes for the other
//! to read is here, so that both use one definition: arguments that are JSON, answers that are not a
//! client's, and the [`Outcome`] that tells the two kinds of answers apart. Each type says who writes it and
//! who reads it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap fails the test"))]

mod hierarchy;
mod history;
mod intake;
mod invites;
mod memberships;
mod outcome;
mod partial_joins;
mod policy_servers;
mod sync;

#[cfg(test)]
mod round_trip;

pub use self::{
    hierarchy::{RoomAnswer, RoomQuestion},
    history::ClosestEvent,
    intake::{GivenUp, Kind, Needs, Report, Reports, States, UnknownKind, Verdict},
    invites::{IdentityKey, PreparedInvite, ProvedInvite, SignedInvite},
    memberships::{NeedsEvents, SignedMembership},
    outcome::{Outcome, UnknownOutcome},
    partial_joins::CompletedJoin,
    policy_servers::{Afterwards, Unsigned},
    sync::SyncRequest,
};

/// A JSON object: an event, mostly.
pub type Map = serde_json::Map<String, serde_json::Value>;
