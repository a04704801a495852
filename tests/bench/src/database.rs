//! The nodes' database: users made in bulk, and the figures that only it knows.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_postgres::{Client as Connection, NoTls};

use crate::{Result, client::Client};

/// A superuser's connections.
pub struct Database {
    dsn: String,
    pub connection: Arc<Connection>,
}

/// Registering through the API would measure the password hash.
const ADD_USERS: &str = "
    with added as (
        insert into matriarch.users (user_id)
        select '@' || name || ':' || server_name from unnest($1::text[]) as name, matriarch.server
        returning user_nid, user_id
    ), account as (
        insert into matriarch.accounts (user_nid) select user_nid from added returning user_nid
    ), device as (
        insert into matriarch.devices (user_nid, device_id) select user_nid, 'BENCH' from account
        returning device_nid, user_nid
    )
    insert into matriarch.access_tokens (token_hash, user_nid, device_nid)
    select hash, user_nid, device_nid
    from unnest($1::text[], $2::bytea[]) as token (name, hash)
    join added on user_id like '@' || name || ':%'
    join device using (user_nid)";

impl Database {
    pub async fn connect(dsn: &str) -> Result<Self> {
        let connection = Arc::new(connect(dsn).await?);
        Ok(Self { dsn: dsn.to_owned(), connection })
    }

    /// One more connection.
    pub async fn another(&self) -> Result<Connection> {
        connect(&self.dsn).await
    }

    /// Makes users named `prefix0`, `prefix1` … and returns a client for each.
    pub async fn users(&self, client: &Client, prefix: &str, count: usize) -> Result<Vec<Client>> {
        // Names of their own for each run: a database may be measured twice.
        let run = std::process::id();
        let names: Vec<String> = (0..count).map(|index| format!("{prefix}.{run}.{index}")).collect();
        for names in names.chunks(500) {
            let hashes: Vec<Vec<u8>> = names.iter().map(|name| Sha256::digest(name).to_vec()).collect();
            self.connection.execute(ADD_USERS, &[&names, &hashes]).await?;
        }
        Ok(names.iter().map(|name| client.with_token(name)).collect())
    }

    /// The user id of a client made by [`Database::users`] is that of its token.
    pub async fn bytes(&self, sql: &'static str) -> Result<f64> {
        let bytes: i64 = self.connection.query_one(sql, &[]).await?.get(0);
        Ok(bytes as f64)
    }
}

async fn connect(dsn: &str) -> Result<Connection> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("database connection: {error}");
        }
    });
    Ok(client)
}
