//! Why a command ends with an error.

use std::error::Error;
use std::fmt::{self, Display};

/// What could not be done, and why: one line for the person at the terminal or in the journal.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// `what` failed because of `why`, whose causes are told as well.
    pub fn new(what: impl Display, why: impl Error) -> Self {
        let mut text = format!("{what}: {why}");
        let mut source = why.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self(text)
    }

    /// A failure that is its own reason.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}
