//! Comparison with an independent implementation on random input: ruma must have the same results.
//!
//! Where ruma differs from the text of the specification, the generators leave the case out and say why.

#![allow(clippy::unwrap_used, reason = "tests")]

mod auth;
mod chance;
mod forks;
mod formats;
mod naive;
mod pdu;
mod random;
mod resolution;
mod rooms;
mod scenarios;
mod walks;
