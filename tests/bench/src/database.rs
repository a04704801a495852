//! The nodes' database: users made in bulk, and the figures that only it knows.

use std::sync::Arc;

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

/// More devices of users that [`ADD_USERS`] made, whose tokens go on from the first one's.
const ADD_DEVICES: &str = "
    with first as (
        select *
        from unnest($1::bytea[], $2::bytea[]) as t (token_hash, new_hash)
        join matriarch.access_tokens using (token_hash)
    ), device as (
        insert into matriarch.devices (user_nid, device_id)
        select user_nid, $3 from first
        returning device_nid, user_nid
    )
    insert into matriarch.access_tokens (token_hash, user_nid, device_nid)
    select new_hash, user_nid, device.device_nid from first join device using (user_nid)";

/// The node's connections; the superuser's are the load generator's own.
const BACKENDS: &str = "
    select pid from pg_stat_activity
    where backend_type = 'client backend' and datname = current_database() and usename <> current_user";

/// One of a user's devices.
pub struct Device {
    pub client: Client,
    pub user_id: String,
    pub device_id: String,
}

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
        let clients: Vec<Client> = names.iter().map(|name| client.with_token(name)).collect();
        for (names, clients) in names.chunks(500).zip(clients.chunks(500)) {
            let hashes: Vec<Vec<u8>> = clients.iter().map(Client::token_hash).collect();
            self.connection.execute(ADD_USERS, &[&names, &hashes]).await?;
        }
        Ok(clients)
    }

    /// Makes users as [`Database::users`] does, with some devices each. The devices of a user are not side by
    /// side.
    pub async fn devices(
        &self,
        client: &Client,
        prefix: &str,
        users: usize,
        each: usize,
    ) -> Result<Vec<Device>> {
        let clients = self.users(client, prefix, users).await?;
        let hashes: Vec<Vec<u8>> = clients.iter().map(Client::token_hash).collect();
        let mut all = clients.clone();
        for number in 1..each {
            let more: Vec<Client> = clients
                .iter()
                .map(|client| client.with_token(&format!("{}.{number}", client.token())))
                .collect();
            let new: Vec<Vec<u8>> = more.iter().map(Client::token_hash).collect();
            self.connection.execute(ADD_DEVICES, &[&hashes, &new, &format!("BENCH{number}")]).await?;
            all.extend(more);
        }
        let mut devices = Vec::new();
        for client in all {
            let who = client.get("account/whoami").await?;
            let field =
                |name: &str| Ok::<_, crate::Error>(who[name].as_str().ok_or("no such field")?.to_owned());
            devices.push(Device { user_id: field("user_id")?, device_id: field("device_id")?, client });
        }
        Ok(devices)
    }

    /// The processes that serve the node's connections.
    pub async fn backends(&self) -> Result<Vec<u32>> {
        let rows = self.connection.query(BACKENDS, &[]).await?;
        rows.iter().map(|row| Ok(u32::try_from(row.get::<_, i32>(0))?)).collect()
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
