//! What has news, and how the node learned of it.

/// A room or user that has news.
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
