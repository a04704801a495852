//! The database: connections, the responses of its functions, migrations, and the embedded PostgreSQL.

mod connect;
pub mod db;
pub mod embedded;
pub mod heartbeat;
pub mod housekeeping;
pub mod migrate;
pub mod pooler;
mod response;
pub mod targets;

/// The version of the extension that this program was built with.
pub const EXTENSION_VERSION: &str = env!("BUILT_EXTENSION_VERSION");
/// The versions of the program, of the tables and of the extension.
pub const VERSIONS: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (tables ",
    env!("BUILT_SCHEMA_VERSION"),
    ", extension ",
    env!("BUILT_EXTENSION_VERSION"),
    ")"
);

pub use connect::Target;
pub use db::Db;
pub use matriarch_wire::Outcome;
pub use response::MatrixResponse;
pub(crate) use response::call;
