//! Intake of remote events: the arguments and the response of `receive_pdus`.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// What the events of a batch are to their room: the argument `kind`. Written by the node, read by the
/// extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// New events, at the end of the timeline.
    Live,
    /// New events, which this server sends to the other servers in the room: joins, knocks and leaves that
    /// another server sent to this one, and invites.
    Relayed,
    /// Old events, each before the events that cite it.
    Backfilled,
    /// Events that are stored, but not in the graph: auth events, and the events of a given state.
    Outlier,
}

/// A name that is no [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Live, Self::Relayed, Self::Backfilled, Self::Outlier];

    /// The value of the argument.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Relayed => "relayed",
            Self::Backfilled => "backfilled",
            Self::Outlier => "outlier",
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kind is live, relayed, backfilled or outlier")
    }
}

impl Error for UnknownKind {}

/// State events by the event that they are the state before, all as event ids: the argument `states` of
/// `receive_pdus` and `complete_partial_join`. Written by the node, read by the extension.
pub type States = BTreeMap<String, Vec<String>>;

/// What the node cannot obtain, so that events are judged without it: the argument `given_up`. Auth events,
/// and those of a given state, are never given up: an event without them would stay rejected. Written by the
/// node, read by the extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GivenUp {
    /// Servers whose signing keys cannot be obtained, or none that are newer than those known.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<String>,
    /// Event ids from `prev_events`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub prev_events: BTreeSet<String>,
    /// Ids of events that the room's policy server does not sign.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub policy_signatures: BTreeSet<String>,
}

impl GivenUp {
    /// Whether nothing is given up.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prev_events.is_empty() && self.policy_signatures.is_empty()
    }
}

/// What the node has to bring before an event can be judged. Written by the extension, read by the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Signing keys: server names and key ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<(String, String)>,
    /// Ids of events to be brought as outliers: auth events, and those of a given state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Ids of its previous events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prev_events: Vec<String>,
    /// Whether the state before it must be given, because previous events were given up.
    #[serde(skip_serializing_if = "is_false")]
    pub state: bool,
    /// The name of the room's policy server, whose signature is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_server: Option<String>,
}

impl Needs {
    /// The events that it names.
    pub fn cited(&self) -> impl Iterator<Item = &str> {
        self.events.iter().chain(&self.prev_events).map(String::as_str)
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What intake decided about an event. Written by the extension, read by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Stored, and shown.
    Accepted,
    /// Stored, and not shown: the room's current state does not allow it.
    SoftFailed { reason: String },
    /// Stored, and without effect.
    Rejected { reason: String },
    /// Stored, but not in the graph.
    Outlier,
    /// Not stored, because it is no event of the room.
    Refused { reason: String },
    /// Not stored yet.
    Needs { needs: Needs },
}

impl Verdict {
    /// The name in the report, and for those that are settled in `matrix.events.status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoftFailed { .. } => "soft-failed",
            Self::Rejected { .. } => "rejected",
            Self::Outlier => "outlier",
            Self::Refused { .. } => "refused",
            Self::Needs { .. } => "needs",
        }
    }

    /// The event is refused.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// Why the event is not accepted, if it is settled.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::SoftFailed { reason } | Self::Rejected { reason } | Self::Refused { reason } => {
                Some(reason)
            }
            Self::Accepted | Self::Outlier | Self::Needs { .. } => None,
        }
    }
}

/// One event's part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Absent where the PDU has no event id, being malformed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<String>,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The answer of `receive_pdus`: a report for each PDU, in their order. Written by the extension, read by the
/// node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    pub pdus: Vec<Report>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::assert_round_trip;

    #[test]
    fn kinds_are_known_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("new".parse::<Kind>(), Err(UnknownKind));
    }

    #[test]
    fn states() {
        assert_round_trip(&States::from([("$a".to_owned(), vec!["$b".to_owned()])]), json!({ "$a": ["$b"] }));
    }

    #[test]
    fn given_up() {
        let set = |item: &str| BTreeSet::from([item.to_owned()]);
        let all = GivenUp { keys: set("one.example"), prev_events: set("$a"), policy_signatures: set("$b") };
        let json = json!({ "keys": ["one.example"], "prev_events": ["$a"], "policy_signatures": ["$b"] });
        assert_round_trip(&all, json);
        assert!(!all.is_empty());
        assert_round_trip(&GivenUp::default(), json!({}));
        assert!(GivenUp::default().is_empty());
        serde_json::from_str::<GivenUp>(r#"{"events": ["$a"]}"#).unwrap_err();
    }

    #[test]
    fn reports() {
        let reason = || "it is late".to_owned();
        let needs = Needs {
            keys: vec![("one.example".to_owned(), "ed25519:a".to_owned())],
            events: vec!["$a".to_owned()],
            prev_events: vec!["$b".to_owned()],
            state: true,
            policy_server: Some("two.example".to_owned()),
        };
        let verdicts = [
            (Verdict::Accepted, json!({ "verdict": "accepted" })),
            (
                Verdict::SoftFailed { reason: reason() },
                json!({ "verdict": "soft-failed", "reason": "it is late" }),
            ),
            (
                Verdict::Rejected { reason: reason() },
                json!({ "verdict": "rejected", "reason": "it is late" }),
            ),
            (Verdict::Outlier, json!({ "verdict": "outlier" })),
            (Verdict::refused(reason()), json!({ "verdict": "refused", "reason": "it is late" })),
            (
                Verdict::Needs { needs },
                json!({
                    "verdict": "needs",
                    "needs": {
                        "keys": [["one.example", "ed25519:a"]],
                        "events": ["$a"],
                        "prev_events": ["$b"],
                        "state": true,
                        "policy_server": "two.example",
                    },
                }),
            ),
            (Verdict::Needs { needs: Needs::default() }, json!({ "verdict": "needs", "needs": {} })),
        ];
        for (verdict, mut json) in verdicts {
            assert_eq!(json["verdict"], verdict.name());
            let report = Report { event_id: None, verdict };
            assert_round_trip(&report, json.clone());
            let report = Report { event_id: Some("$event".to_owned()), ..report };
            json["event_id"] = "$event".into();
            assert_round_trip(&report, json.clone());
            assert_round_trip(&Reports { pdus: vec![report] }, json!({ "pdus": [json] }));
        }
        serde_json::from_str::<Report>(r#"{"verdict": "lost"}"#).unwrap_err();
    }

    #[test]
    fn only_settled_events_have_a_reason() {
        assert_eq!(Verdict::refused("why").reason(), Some("why"));
        assert_eq!(Verdict::Accepted.reason(), None);
        assert_eq!(Verdict::Needs { needs: Needs::default() }.reason(), None);
    }
}
