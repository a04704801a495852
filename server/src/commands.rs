//! What `matriarch` does, by its subcommands.

pub mod cli;
pub mod graph;
pub mod listen;
pub mod logs;
pub mod serve;
pub mod user;
