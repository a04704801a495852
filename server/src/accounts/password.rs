//! Password hashing: argon2id, on threads of its own, a few hashes at a time.

#[cfg(test)]
mod tests;
mod turns;

use std::sync::LazyLock;

use argon2::password_hash::Error;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use axum::http::StatusCode;
use parking_lot::Mutex;

use self::turns::Turns;
use crate::base::error::ApiError;
use crate::base::limit;
use crate::config::Registration;

/// Of the equally strong settings in OWASP's password storage cheat sheet, the one that takes the least
/// memory. KiB, passes, lanes.
const COST: (u32, u32, u32) = (7168, 5, 1);

/// The longest accepted password, in bytes.
const MAX_LENGTH: usize = 1024;

/// How many requests may wait.
const MAX_WAITING: usize = 256;

/// A hash of no known password, with the same cost as real ones. With it, the check for an unknown user takes
/// as long as for a known one.
const NOBODY: &str =
    "$argon2id$v=19$m=7168,t=5,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$mSRLkTszIauC5IaQvoXgQ5wE/EUcKXTcKR/n84t03S0";

/// The most hashes at the same time. More than there are CPUs would slow each other and the node's other
/// work, and each takes memory.
const MAX_TURNS: usize = 4;

static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Turns::new(processors.min(MAX_TURNS), MAX_WAITING)
});

/// The memory of hashes, which is reused. If threads allocated and freed blocks of this size, the allocator
/// would hold many times the memory in use.
static MEMORY: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// Refuses a password that a user chose and that is shorter than the configuration demands: 400
/// `M_WEAK_PASSWORD`.
pub fn check_length(password: &str, registration: &Registration) -> Result<(), ApiError> {
    let least = registration.min_password_length;
    if password.chars().count() >= least {
        return Ok(());
    }
    let message = format!("The password is shorter than {least} characters");
    Err(ApiError::new(StatusCode::BAD_REQUEST, "M_WEAK_PASSWORD", message))
}

/// Hashes a new password into a PHC string. `who` tells apart those whose requests wait: a network or a user.
///
/// Fails with 400 `M_WEAK_PASSWORD` for an empty one, `M_INVALID_PARAM` for one over 1024 bytes, and 429 if
/// too many requests wait.
pub async fn hash(password: &str, who: &str) -> Result<String, ApiError> {
    if password.is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_WEAK_PASSWORD", "The password is empty"));
    }
    if password.len() > MAX_LENGTH {
        return Err(ApiError::invalid_param("The password is longer than 1024 bytes"));
    }
    let password = password.to_owned();
    in_turn(who, move || hash_now(password.as_bytes())).await?.map_err(|cause| {
        tracing::error!(%cause, "a password could not be hashed");
        ApiError::internal()
    })
}

/// Whether `password` has this `hash`. Returns false, after the same time, if there is no hash or it is
/// malformed. `who` is as for [`hash`].
///
/// Fails with 429 if too many requests wait.
pub async fn verify(password: &str, hash: Option<&str>, who: &str) -> Result<bool, ApiError> {
    let known = hash.is_some();
    let hash = hash.unwrap_or(NOBODY).to_owned();
    let password = password.to_owned();
    let matches = in_turn(who, move || verify_now(password.as_bytes(), &hash)).await?;
    Ok(known && matches.unwrap_or(false))
}

fn hash_now(password: &[u8]) -> Result<String, Error> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None)?;
    let salt = Salt::generate();
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(salt),
        hash: Some(derive(
            &Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            password,
            &salt,
            Params::DEFAULT_OUTPUT_LEN,
        )?),
    };
    Ok(hash.to_string())
}

fn verify_now(password: &[u8], hash: &str) -> Result<bool, Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Err(Error::PasswordInvalid) };
    // Uses algorithm and cost of the stored hash, so that they can be changed for new passwords.
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from)?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&hash)?);
    // Constant time: it does not depend on where they differ.
    Ok(derive(&argon2, password, &salt, expected.len())? == expected)
}

fn derive(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], length: usize) -> Result<Output, Error> {
    let blocks = argon2.params().block_count();
    let mut memory = MEMORY.lock().pop().unwrap_or_default();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let mut output = vec![0; length];
    let derived = argon2.hash_password_into_with_memory(password, salt, &mut output, &mut memory[..blocks]);
    MEMORY.lock().push(memory);
    derived?;
    Ok(Output::new(&output)?)
}

/// Runs `work` on a blocking thread when it is the turn of `who`.
async fn in_turn<T: Send + 'static>(
    who: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let Some(turn) = TURNS.take(who).await else {
        limit::reached("passwords_waiting", who);
        return Err(ApiError::limit_exceeded("Too many passwords are being checked; try again", 2000));
    };
    tokio::task::spawn_blocking(move || {
        // The turn lasts until the work ends, even if the client disconnects.
        let _turn = turn;
        work()
    })
    .await
    .map_err(|_| ApiError::internal())
}
