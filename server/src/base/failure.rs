//! Errors of commands.

use std::error::Error;
use std::fmt::{self, Display};

/// What failed, and why: one line for the terminal or the journal.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// `what` failed because of `why`, whose causes are included.
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

    /// A failure without a further cause.
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
