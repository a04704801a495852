//! Device keys, cross-signing keys and device lists. Client-Server API, "End-to-End Encryption".

pub mod cross_signing;
pub mod device_lists;
pub mod keys;
