//! Keys of devices and users, and whose changed. Client-Server API, "End-to-End Encryption".

pub mod cross_signing;
pub mod device_lists;
pub mod keys;
