//! Which history of which cluster this is.

use pgrx::pg_sys;

/// The cluster's system identifier and the timeline that it writes (on a standby: replays), `<system>:<timeline>`.
///
/// `initdb` draws the first; every promotion of a standby, and every recovery from a backup that ends before the log
/// does, begins a new one of the second. What was committed on an earlier timeline may be lost on this one.
pub fn timeline() -> String {
    // SAFETY: these read shared memory that is there as long as the backend is.
    unsafe {
        let system = pg_sys::GetSystemIdentifier();
        let timeline = if pg_sys::RecoveryInProgress() {
            let mut timeline = 0;
            pg_sys::GetXLogReplayRecPtr(&raw mut timeline);
            timeline
        } else {
            pg_sys::GetWALInsertionTimeLine()
        };
        format!("{system}:{timeline}")
    }
}
