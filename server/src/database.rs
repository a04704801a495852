//! The database: connections, the responses of its functions, migrations, and the embedded PostgreSQL.

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
