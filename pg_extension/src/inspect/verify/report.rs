//! What the checks found.

use pgrx::notice;

/// So many rows are kept: where everything is wrong, more of them say no more.
const MAX_FINDINGS: usize = 10_000;

/// A disagreement between what is stored and what follows from the events.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    /// The name of the check, as docs/sql.md explains it.
    pub check: &'static str,
    pub event_id: Option<String>,
    /// What of the event or the room is wrong.
    pub subject: Option<String>,
    pub found: Option<String>,
    pub expected: Option<String>,
    /// What repairs it; absent when nothing does.
    pub action: Option<&'static str>,
}

impl Finding {
    pub fn new(check: &'static str) -> Self {
        Self { check, ..Self::default() }
    }

    pub fn event(self, event_id: &str) -> Self {
        Self { event_id: Some(event_id.to_owned()), ..self }
    }

    pub fn subject(self, subject: impl ToString) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    pub fn found(self, found: impl ToString) -> Self {
        Self { found: Some(found.to_string()), ..self }
    }

    pub fn expected(self, expected: impl ToString) -> Self {
        Self { expected: Some(expected.to_string()), ..self }
    }

    /// Says that it can be repaired, and how.
    pub fn action(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }
}

/// Findings, in the order in which they were made.
pub(crate) struct Report {
    repairing: bool,
    /// Whether anything was repaired in this round.
    pub repaired: bool,
    findings: Vec<Finding>,
    left_out: usize,
}

impl Report {
    pub fn new(repairing: bool) -> Self {
        Self { repairing, repaired: false, findings: Vec::new(), left_out: 0 }
    }

    /// Begins a round of repair, which will find again what cannot be repaired.
    pub fn begin_round(&mut self) {
        self.repaired = false;
        self.findings.retain(|finding| finding.action.is_some());
    }

    /// Adds a finding; whether the caller is to repair it.
    pub fn add(&mut self, finding: Finding) -> bool {
        let repair = self.repairing && finding.action.is_some();
        self.repaired |= repair;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.left_out += 1;
        }
        repair
    }

    /// The findings; a NOTICE tells how many were left out.
    pub fn finish(self) -> impl Iterator<Item = Finding> {
        if self.left_out > 0 {
            notice!("{} more disagreements were found than are shown", self.left_out);
        }
        self.findings.into_iter()
    }
}
