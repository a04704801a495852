//! Unpadded base64: written without padding, read with or without it.
//!
//! Decoding accepts non-zero bits after the last whole byte, since the specification's own signing key has
//! them. Spec: [Unpadded Base64](https://spec.matrix.org/v1.19/appendices/#unpadded-base64).

use ::base64::{
    DecodeError, Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// Standard base64 without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// URL-safe base64 without padding.
pub fn encode_url_safe(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE.encode(bytes)
}

/// Decodes standard base64.
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    STANDARD.decode(text)
}

/// Decodes standard or URL-safe base64: identity servers write their public keys in either.
pub fn decode_any(text: &str) -> Result<Vec<u8>, DecodeError> {
    if text.contains(['-', '_']) { URL_SAFE.decode(text) } else { STANDARD.decode(text) }
}

#[cfg(test)]
mod tests;
