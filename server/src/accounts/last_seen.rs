//! When and where devices were last seen. The node collects this, and writes it once a minute, so that no
//! request has to write.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio_postgres::types::ToSql;

use crate::base::access_token::AccessToken;
use crate::database::Db;

/// How often a node writes.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many tokens a node remembers between two writes. Further ones are left out.
const REMEMBERED: usize = 100_000;

/// The most tokens in one statement.
const CHUNK: usize = 10_000;

/// The tokens used since the last write. Cheap to clone.
#[derive(Clone, Default)]
pub struct LastSeen {
    seen: Arc<Mutex<HashMap<AccessToken, (SystemTime, IpAddr)>>>,
}

impl LastSeen {
    /// Remembers when and where a token was used.
    pub fn note(&self, token: AccessToken, at: SystemTime, address: IpAddr) {
        let mut seen = self.lock();
        if seen.len() >= REMEMBERED && !seen.contains_key(&token) {
            return;
        }
        let entry = seen.entry(token).or_insert((at, address));
        if entry.0 < at {
            *entry = (at, address);
        }
    }

    /// Writes what was seen since the last time. Forgets what cannot be written, since devices are seen
    /// again.
    pub async fn write(&self, db: &Db) {
        let seen: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        for chunk in seen.chunks(CHUNK) {
            let tokens: Vec<&[u8]> = chunk.iter().map(|(token, _)| token.hash()).collect();
            let times: Vec<SystemTime> = chunk.iter().map(|(_, (at, _))| *at).collect();
            let addresses: Vec<String> = chunk.iter().map(|(_, (_, address))| address.to_string()).collect();
            let params: [&(dyn ToSql + Sync); 3] = [&tokens, &times, &addresses];
            let _logged = db.query(include_str!("last_seen.sql"), &params).await;
        }
    }

    /// Writes once a minute, for as long as the node runs.
    pub async fn run(self, db: Db) {
        // A random delay, so that nodes that start together do not write together.
        tokio::time::sleep(INTERVAL.mul_f64(0.5 + rand::random::<f64>())).await;
        loop {
            self.write(&db).await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccessToken, (SystemTime, IpAddr)>> {
        self.seen.lock()
    }
}
