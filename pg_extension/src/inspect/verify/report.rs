//! The findings of the checks.

use pgrx::notice;

/// The number of findings that are kept. If everything is wrong, more of them are of no use.
const MAX_FINDINGS: usize = 10_000;

/// A disagreement between what is stored and what follows from the events.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    /// The name of the check; see docs/sql.md.
    pub check: &'static str,
    pub event_id: Option<String>,
    /// The part of the event or the room that is wrong.
    pub subject: Option<String>,
    pub found: Option<String>,
    pub expected: Option<String>,
    /// What repairs it; `None` if nothing does.
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

    /// Sets the action that repairs it.
    pub fn action(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }
}

/// The findings, in the order in which they were made.
pub(crate) struct Report {
    repairing: bool,
    /// Whether something was repaired in this round.
    pub repaired: bool,
    findings: Vec<Finding>,
    left_out: usize,
}

impl Report {
    pub fn new(repairing: bool) -> Self {
        Self { repairing, repaired: false, findings: Vec::new(), left_out: 0 }
    }

    /// Begins a round of repair. Findings that cannot be repaired are dropped, since the round finds them
    /// again.
    pub fn begin_round(&mut self) {
        self.repaired = false;
        self.findings.retain(|finding| finding.action.is_some());
    }

    /// Adds a finding. Returns whether the caller is to repair it.
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

    /// The findings. A NOTICE tells how many were left out.
    pub fn finish(self) -> impl Iterator<Item = Finding> {
        if self.left_out > 0 {
            notice!("{} more disagreements were found than are shown", self.left_out);
        }
        self.findings.into_iter()
    }
}
