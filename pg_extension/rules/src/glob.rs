//! [Glob-style matching](https://spec.matrix.org/v1.19/appendices/#glob-style-matching), used by server
//! access control lists and push rules.

/// Whether the pattern matches the whole text: `*` matches zero or more characters, `?` exactly one, every
/// other character itself. Callers that ignore case fold both arguments first.
///
/// Takes at most as many steps as the product of the two lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    matches_with(pattern, text, |wanted, char| wanted == '?' || wanted == char)
}

/// As [`matches`], but `?` matches only itself: event types in filters have no wildcard but `*`.
pub fn matches_star(pattern: &str, text: &str) -> bool {
    matches_with(pattern, text, |wanted, char| wanted == char)
}

fn matches_with(pattern: &str, text: &str, is: impl Fn(char, char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // The pattern after the last `*`, and the text that was tried after it. Only the last `*` ever has to
    // match more: whatever more an earlier `*` could match, the last one can match instead.
    let mut retry = None;
    loop {
        let fits = match pattern.next() {
            Some('*') => {
                retry = Some((pattern.clone(), text.clone()));
                true
            }
            Some(wanted) => text.next().is_some_and(|char| is(wanted, char)),
            None if text.as_str().is_empty() => return true,
            None => false,
        };
        if fits {
            continue;
        }
        let Some((after_star, tried)) = &mut retry else { return false };
        if tried.next().is_none() {
            return false;
        }
        (pattern, text) = (after_star.clone(), tried.clone());
    }
}

#[cfg(test)]
mod tests;
