//! What has news, and who said so.

/// A room or user that has news, by its numeric id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A `room_nid`.
    Room(i64),
    /// A `user_nid`.
    User(i64),
}

/// Where a wake-up came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Local,
    Notify,
    Poll,
}

impl Source {
    /// Its label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Notify => "notify",
            Self::Poll => "poll",
        }
    }
}
