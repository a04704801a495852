//! [Glob-style matching](https://spec.matrix.org/v1.19/appendices/#glob-style-matching), of server access
//! control lists and push rules.

/// Whether the whole text is as the pattern: `*` stands for zero or more characters, `?` for exactly one, every
/// other character for itself. Who ignores case folds both before.
///
/// Takes at most as many steps as the product of the two lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    matches_with(pattern, text, |wanted, char| wanted == '?' || wanted == char)
}

/// As [`matches`], but `?` is a character like others: the event types in filters know `*` alone.
pub fn matches_star(pattern: &str, text: &str) -> bool {
    matches_with(pattern, text, |wanted, char| wanted == char)
}

fn matches_with(pattern: &str, text: &str, is: impl Fn(char, char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What follows the last `*` seen, and the text that it was tried on. Only the last one ever has to take
    // more: whatever an earlier one could take, this one can take in its place.
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
