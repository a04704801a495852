//! Encrypts the stored request of a session. It may contain a new password, which must not be stored in clear
//! text. The key is derived from the session id, which the database does not have.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

/// Encrypts `text` with a key derived from `session_id`. Returns nonce, cipher text and tag.
pub fn seal(session_id: &str, mut text: Vec<u8>) -> Option<Vec<u8>> {
    let random: [u8; NONCE_LEN] = rand::random();
    let nonce = Nonce::assume_unique_for_key(random);
    key(session_id)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut text).ok()?;
    Some([random.as_slice(), &text].concat())
}

/// Decrypts the output of [`seal`]; `None` if it is of another session.
pub fn open(session_id: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let length = key(session_id)?.open_in_place(nonce, Aad::empty(), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn key(session_id: &str) -> Option<LessSafeKey> {
    // The label makes the key differ from the hash of the id, which the database has.
    let key = Sha256::new().chain_update(b"request\0").chain_update(session_id).finalize();
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?))
}
