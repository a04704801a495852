//! What dumps leave behind that were restored in another order, or with less, than they were made.

use tokio_postgres::Client;
use tracing::info;

use super::failed;
use crate::base::failure::Failure;

/// What does not belong to `matriarch_owner`.
const OF_OTHERS: &str = "
    select n.nspname::text
    from pg_namespace n
    where n.nspname in ('matriarch', 'matrix') and n.nspowner <> 'matriarch_owner'::regrole
    union all
    select c.oid::regclass::text
    from pg_class c
    where c.relnamespace in (to_regnamespace('matriarch'), to_regnamespace('matrix'))
        and c.relkind in ('r', 'S', 'v') and c.relowner <> 'matriarch_owner'::regrole
    limit 1";
const TAKE_OVER: &str = include_str!("../../../../sql/restored.sql");
const IS_SUPERUSER: &str = "select rolsuper from pg_roles where rolname = current_user";
/// Some rights of nodes and analysts: a dump has all of them or none.
const HAS_GRANTS: &str = "
    select has_table_privilege('matriarch_api', 'matriarch.access_tokens', 'insert')
        and has_table_privilege('matriarch_api', 'matriarch.rooms', 'select')
        and has_schema_privilege('matriarch_readonly', 'matrix', 'usage')
        and has_table_privilege('matriarch_readonly', 'matrix.rooms', 'select')";

/// Gives schemas, tables, views and functions to `matriarch_owner`, if some belong to another role.
pub async fn mend(client: &Client) -> Result<(), Failure> {
    let found =
        client.query_opt(OF_OTHERS, &[]).await.map_err(failed("cannot look at the tables' owners"))?;
    let Some(found) = found else { return Ok(()) };
    let name: String = found.try_get(0).map_err(failed("cannot look at the tables' owners"))?;
    let superuser = client.query_one(IS_SUPERUSER, &[]).await.and_then(|row| row.try_get(0));
    if !superuser.map_err(failed("cannot read the role"))? {
        return Err(Failure::plain(format!(
            "`{name}` does not belong to the role matriarch_owner, as after a restore into a cluster without \
             the roles: run `matriarch migrate` as a superuser, which mends that"
        )));
    }
    client.batch_execute(TAKE_OVER).await.map_err(failed("cannot give the tables to matriarch_owner"))?;
    info!(example = name, "gave what a restore had left to another role to matriarch_owner");
    Ok(())
}

/// Fails if the rights of roles are missing, which only the dump has.
pub async fn check_grants(client: &Client) -> Result<(), Failure> {
    let has_grants = client.query_one(HAS_GRANTS, &[]).await.and_then(|row| row.try_get(0));
    if has_grants.map_err(failed("cannot look at the rights"))? {
        return Ok(());
    }
    Err(Failure::plain(
        "the roles matriarch_api and matriarch_readonly lack their rights: the dump was restored with \
         `--no-privileges`, or before the roles were there. Create the roles first (`pg_dumpall \
         --globals-only`, or `create extension matriarch` in any database), and restore it again",
    ))
}
