//! The first start: records the server name in the database and creates a signing key.

use matriarch_rules::identifiers::is_server_name;
use pgrx::{PgSqlErrorCode, ereport, pg_extern};
use rand::{RngExt, rand_core::UnwrapErr, rngs::SysRng};

use crate::base::{
    connection::connect,
    spi::{Db, Mode},
};

const CLAIM: &str = "insert into server (server_name) values ($1) on conflict (singleton) do nothing";

const SERVER_NAME: &str = "select server_name from server";

const HAS_KEY: &str = "select from signing_keys where expired_at is null";

const ADD_KEY: &str = "insert into signing_keys (key_id, seed) values ($1, $2)";

/// Records the name of the server that this database belongs to, and creates its first signing key. Does
/// nothing if both were done before. Raises an ERROR if `server_name` is not a valid server name, or not the
/// recorded one.
#[pg_extern]
fn initialize(server_name: &str) {
    if !is_server_name(server_name) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("not a server name: {server_name:?}")
        );
    }
    connect(Mode::Write, |db| {
        // If two nodes start at once, the second waits here for the first one's row, so only one makes a key.
        let claimed = db.execute(CLAIM, &[server_name.into()]) == 1;
        let recorded: String = db.query_one(SERVER_NAME, &[]).get("server_name");
        if recorded != server_name {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("this database belongs to the server {recorded:?}, not to {server_name:?}")
            );
        }
        if claimed || db.query_opt(HAS_KEY, &[]).is_none() {
            add_key(db);
        }
    });
}

/// Makes a signing key, which signs from now on. Returns its key id, `ed25519:<name>`.
pub fn add_key(db: &Db<'_>) -> String {
    let mut random = UnwrapErr(SysRng);
    let (name, seed): (u32, [u8; 32]) = (random.random(), random.random());
    let key_id = format!("ed25519:{name:08x}");
    db.execute(ADD_KEY, &[key_id.as_str().into(), seed.to_vec().into()]);
    key_id
}
