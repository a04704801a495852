//! What an answer is to the API node that asked for it.

use std::{error::Error, fmt, str::FromStr};

/// An answer that is not, or not only, for the client: the column `outcome` of the SQL type
/// `matriarch.response`. NULL there says that status and body are the client's, as they stand.
///
/// Written by the extension, read by the node, which does what the outcome says. Status and body are always
/// what a client could be answered if nothing is done about the outcome; where the body has more, each
/// variant names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Another server may do, or have, what this one refuses here. The node may ask others; otherwise the
    /// refusal stands (403 or 404).
    Elsewhere,
    /// The members of the room are still being loaded, and the request needs all of them. The node asks again
    /// until they have come (503 if they do not).
    Partial,
    /// A user of this server is just joining a room of the transaction's events. The node asks again once the
    /// state has come (429 if it does not).
    JoinInProgress,
    /// The key that signed the event is not known. The node fetches the keys of the server that sent it, and
    /// asks again (400 if they cannot be had).
    NeedsKeys,
    /// The event depends on what is not known. The node has it taken in with what it needs, and asks again
    /// (400 if that cannot be had). The body has [`NeedsEvents`](crate::NeedsEvents).
    NeedsEvents,
    /// The room's policy server must sign the event before it is appended. The node has it signed, then
    /// appended by `append_signed` (403 if it is not signed). The body has [`Unsigned`](crate::Unsigned).
    SignFirst,
    /// The request is done (200), and events follow from it that the rooms' policy servers must sign. The
    /// node has them signed and appended. The body is [`Afterwards`](crate::Afterwards), which has the
    /// client's.
    SignAfterwards,
    /// The profile was changed (200), and many rooms do not show it yet. The node calls `show_profiles` until
    /// all do.
    Unfinished,
}

/// A name that is no [`Outcome`]: the tiers are of different versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOutcome(pub String);

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Elsewhere,
        Self::Partial,
        Self::JoinInProgress,
        Self::NeedsKeys,
        Self::NeedsEvents,
        Self::SignFirst,
        Self::SignAfterwards,
        Self::Unfinished,
    ];

    /// The value of the column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Partial => "partial",
            Self::JoinInProgress => "join_in_progress",
            Self::NeedsKeys => "needs_keys",
            Self::NeedsEvents => "needs_events",
            Self::SignFirst => "sign_first",
            Self::SignAfterwards => "sign_afterwards",
            Self::Unfinished => "unfinished",
        }
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(name: &str) -> Result<Self, UnknownOutcome> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.name() == name);
        found.ok_or_else(|| UnknownOutcome(name.to_owned()))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an outcome", self.0)
    }
}

impl Error for UnknownOutcome {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_known_by_their_names() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.name().parse(), Ok(outcome));
        }
        assert_eq!("gone".parse::<Outcome>(), Err(UnknownOutcome("gone".to_owned())));
    }
}
