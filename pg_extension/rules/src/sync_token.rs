//! Sync tokens (`s…`) and pagination tokens, which are positions in a room's timeline (`t…`).
//!
//! A sync token is a PostgreSQL snapshot. The rows whose `xid` it does not see are new since the token. That
//! is exact in whatever order transactions commit, and no reader waits for a long transaction.

/// More transactions than any cluster has in progress. Bounds the memory that a forged token takes.
const MAX_IN_PROGRESS: usize = 10_000;

/// A sync token. Its text is
/// `s<generation>_<xmin>_<xmax - xmin>[_<offset from xmin of each transaction in progress>…][~<message_id>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncToken {
    /// The mark of the generation that the transaction ids belong to.
    generation: String,
    xmin: u64,
    xmax: u64,
    /// Ascending, from `xmin` up to below `xmax`.
    in_progress: Vec<u64>,
    /// Of the send-to-device messages that the token sees, it acknowledges those up to this id; all of them
    /// if `None`.
    pub message_id: Option<i64>,
}

impl SyncToken {
    /// Reads PostgreSQL's form, `xmin:xmax:xip,…`.
    pub fn from_snapshot(text: &str, generation: String) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let in_progress = list.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
        let in_progress = in_progress.collect::<Option<_>>()?;
        Some(Self { generation, xmin, xmax, in_progress, message_id: None })
    }

    /// PostgreSQL's form, for parameters that a statement casts to `pg_snapshot`.
    pub fn snapshot(&self) -> String {
        let list: Vec<String> = self.in_progress.iter().map(u64::to_string).collect();
        format!("{}:{}:{}", self.xmin, self.xmax, list.join(","))
    }

    /// Reads a token's text. `None` for one that is none.
    pub fn read(text: &str) -> Option<Self> {
        let (generation, text) = text.strip_prefix('s')?.split_once('_')?;
        let (text, message_id) = match text.split_once('~') {
            Some((text, id)) => (text, Some(i64::try_from(number(id)?).ok()?)),
            None => (text, None),
        };
        let mut numbers = text.split('_').map(number);
        let xmin = numbers.next()??;
        let xmax = xmin.checked_add(numbers.next()??)?;
        if xmin == 0 {
            return None;
        }
        let mut in_progress = Vec::new();
        for offset in numbers {
            let xid = xmin.checked_add(offset?)?;
            if xid >= xmax || in_progress.last().is_some_and(|last| *last >= xid) {
                return None;
            }
            in_progress.push(xid);
            if in_progress.len() > MAX_IN_PROGRESS {
                return None;
            }
        }
        Some(Self { generation: generation.to_owned(), xmin, xmax, in_progress, message_id })
    }

    /// The mark of the generation that the transaction ids belong to.
    pub fn generation(&self) -> &str {
        &self.generation
    }

    /// The first transaction id that was not given out when the token was made.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The token without the transactions from `end` on.
    pub fn ended_at(mut self, end: u64) -> Self {
        self.xmin = self.xmin.min(end);
        self.xmax = self.xmax.min(end);
        self.in_progress.retain(|xid| *xid < end);
        self
    }

    /// The token with another `message_id`, up to which it acknowledges send-to-device messages: 0 for none,
    /// `None` for all that it sees.
    pub fn acknowledging(&self, message_id: Option<i64>) -> Self {
        Self { message_id, ..self.clone() }
    }

    /// Whether a row that this transaction wrote was visible when the token was made.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }
}

impl std::fmt::Display for SyncToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s{}_{}_{}", self.generation, self.xmin, self.xmax - self.xmin)?;
        self.in_progress.iter().try_for_each(|xid| write!(f, "_{}", xid - self.xmin))?;
        self.message_id.iter().try_for_each(|id| write!(f, "~{id}"))
    }
}

/// Reads decimal digits without a sign or leading zeros, as tokens are written.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The pagination token that stands after all events up to the position `pos`.
pub fn pagination_token(pos: i64) -> String {
    format!("t{pos}")
}

/// The position in a pagination token; `None` for a text that is none.
pub fn position(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('t')?;
    number(digits.strip_prefix('-').unwrap_or(digits))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
