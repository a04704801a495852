//! A small client of the client-server API.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Result;

/// One user, or nobody; cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    token: Arc<str>,
}

static TXN: AtomicU64 = AtomicU64::new(0);

impl Client {
    pub fn new(base: &str) -> Result<Self> {
        let http = reqwest::Client::builder().pool_max_idle_per_host(1024).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').into(), token: "".into() })
    }

    /// The same connections, as the owner of an access token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// What the database knows of the access token.
    pub fn token_hash(&self) -> Vec<u8> {
        Sha256::digest(self.token()).to_vec()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/_matrix/client/v3/{path}", self.base)).bearer_auth(&self.token)
    }

    async fn answer(request: RequestBuilder) -> Result<Value> {
        let response = request.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Self::answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Self::answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        Self::answer(self.request(Method::PUT, path).json(body)).await
    }

    /// Creates a room and returns its id.
    pub async fn create_room(&self, request: &Value) -> Result<String> {
        let answer = self.post("createRoom", request).await?;
        Ok(answer["room_id"].as_str().ok_or("no room_id")?.to_owned())
    }

    /// Sends a text of the size that a chat message has.
    pub async fn send(&self, room_id: &str) -> Result<()> {
        let txn = TXN.fetch_add(1, Ordering::Relaxed);
        let text = "The quick brown fox jumps over the lazy dog, twice. ".repeat(3);
        let body = json!({ "msgtype": "m.text", "body": text });
        self.put(&format!("rooms/{room_id}/send/m.room.message/{txn}"), &body).await.map(drop)
    }

    /// The `next_batch` of a sync that does not wait.
    pub async fn sync_token(&self) -> Result<String> {
        let answer = self.get("sync?timeout=0").await?;
        Ok(answer["next_batch"].as_str().ok_or("no next_batch")?.to_owned())
    }
}
