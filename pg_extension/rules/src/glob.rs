//! [Glob-style matching](https://spec.matrix.org/v1.19/appendices/#glob-style-matching), used by server
//! access control lists and push rules.

/// Whether the pattern matches the whole text: `*` matches zero or more characters, `?` exactly one, every
/// other character itself. Callers that ignore case fold both arguments first.
///
/// Takes at most as many steps as the product of the two lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    // Each character of the pattern but `*` needs one of the text, so a long pattern takes few steps.
    if pattern.chars().filter(|wanted| *wanted != '*').nth(text.chars().count()).is_some() {
        return false;
    }
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
            Some(wanted) => text.next().is_some_and(|char| wanted == '?' || wanted == char),
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

/// As [`matches`], but `?` matches only itself: event types in filters have no wildcard but `*`.
///
/// Takes about as many steps as both arguments are long together.
pub fn matches_star(pattern: &str, text: &str) -> bool {
    let mut literals = pattern.split('*');
    let Some(rest) = text.strip_prefix(literals.next().unwrap_or_default()) else { return false };
    let Some(last) = literals.next_back() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    // The first occurrence of each literal leaves the most text for the others.
    for literal in literals {
        let Some((_, after)) = rest.split_once(literal) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests;
