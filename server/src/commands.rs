//! The subcommands of `matriarch`.

pub mod cli;
pub mod graph;
pub mod listen;
pub mod logs;
pub mod serve;
pub mod user;
