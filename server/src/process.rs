//! Facts about the running process.

/// Whether the process runs as root.
pub fn is_root() -> bool {
    effective_uid() == Some(0)
}

/// The effective user id, from `/proc`; `None` where that does not exist.
pub fn effective_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}
