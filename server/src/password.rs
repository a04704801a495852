//! Password hashing: argon2id, off the request threads, a few at a time.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use axum::http::StatusCode;
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// Of the settings that OWASP's password storage cheat sheet holds for equally strong, the one that takes the least
/// memory: a node stays small. KiB, passes, lanes.
const COST: (u32, u32, u32) = (7168, 5, 1);

/// The longest password that is taken, in bytes.
const MAX_LENGTH: usize = 1024;

/// How many may wait for their turn. A guesser can fill this queue, but not the node's memory.
const MAX_WAITING: usize = 256;

/// A hash that no known password gives, at the same cost as real ones. Checking a password of an unknown user takes
/// as long as that of a known one.
const NOBODY: &str =
    "$argon2id$v=19$m=7168,t=5,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$mSRLkTszIauC5IaQvoXgQ5wE/EUcKXTcKR/n84t03S0";

/// One hash at a time for each processor: more would only slow each other, and the node's other work.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
static PLACES: Semaphore = Semaphore::const_new(MAX_WAITING);

/// Hashes a new password into a PHC string.
///
/// 400 `M_WEAK_PASSWORD` for an empty one, `M_INVALID_PARAM` for one over 1024 bytes, 429 when too many wait.
pub async fn hash(password: &str) -> Result<String, ApiError> {
    if password.is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_WEAK_PASSWORD", "The password is empty"));
    }
    if password.len() > MAX_LENGTH {
        return Err(ApiError::invalid_param("The password is longer than 1024 bytes"));
    }
    let password = password.to_owned();
    let hash = in_turn(move || {
        let salt = SaltString::generate(&mut OsRng);
        hasher()?.hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string())
    });
    hash.await?.map_err(|cause| {
        tracing::error!(%cause, "a password could not be hashed");
        ApiError::internal()
    })
}

/// Whether `password` gives `hash`. Without a hash it takes the same time and is false, as with one that is damaged.
///
/// 429 when too many wait.
pub async fn verify(password: &str, hash: Option<&str>) -> Result<bool, ApiError> {
    let known = hash.is_some();
    let hash = hash.unwrap_or(NOBODY).to_owned();
    let password = password.to_owned();
    let matches = in_turn(move || {
        let hash = PasswordHash::new(&hash)?;
        // The cost is the hash's own, so that it can be changed for new passwords.
        Argon2::default().verify_password(password.as_bytes(), &hash)
    });
    Ok(matches.await?.is_ok() && known)
}

fn hasher() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let (memory, passes, lanes) = COST;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, passes, lanes, None)?))
}

/// Runs `work` on a blocking thread when its turn has come.
async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let _place = PLACES.try_acquire().map_err(|_| {
        let message = "Too many passwords are being checked; try again";
        let mut busy = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", message);
        busy.retry_after = Some(2);
        busy.with("retry_after_ms", 2000)
    })?;
    let broken = |_| ApiError::internal();
    let turn = TURNS.acquire().await.map_err(|_| ApiError::internal())?;
    tokio::task::spawn_blocking(move || {
        // The turn ends with the work, also when the client that asked is gone.
        let _turn = turn;
        work()
    })
    .await
    .map_err(broken)
}
