//! The way into the database: its connections, what its functions answer, and the life of its schema.

mod connect;
pub mod db;
pub mod embedded;
pub mod housekeeping;
pub mod migrate;
mod response;
pub mod targets;

pub use connect::Target;
pub use db::Db;
pub use matriarch_wire::Outcome;
pub use response::MatrixResponse;
pub(crate) use response::call;
