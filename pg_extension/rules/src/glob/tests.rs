use proptest::prelude::{prop_assert_eq, proptest};

use super::{matches, matches_star};

#[test]
fn stars_and_question_marks() {
    for (pattern, text) in [
        ("", ""),
        ("*", ""),
        ("**", "a"),
        ("a*", "a"),
        ("*a", "ba"),
        ("a*b*c", "a12b3bc"),
        ("*ab", "aab"),
        ("*.evil.*", "one.evil.two.evil.org"),
        ("?", "é"),
        ("a?c*", "abcd"),
        ("*?", "a"),
        ("*aab*", "aaab"),
    ] {
        assert!(matches(pattern, text), "{pattern:?} {text:?}");
    }
    for (pattern, text) in [
        ("", "a"),
        ("a", ""),
        ("?", ""),
        ("?", "ab"),
        ("a", "A"),
        ("a*a", "a"),
        ("*.org", "org"),
        ("a?c", "ac"),
        ("??*", "a"),
        ("*ab", "abc"),
        (".", "a"),
    ] {
        assert!(!matches(pattern, text), "{pattern:?} {text:?}");
    }
}

#[test]
fn filters_know_stars_alone() {
    assert!(matches_star("m.*", "m.room"));
    assert!(matches_star("a?*", "a?b"));
    assert!(!matches_star("a?", "ab"));
}

/// The definition, implemented literally.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
        Some((wanted, rest)) => text
            .split_first()
            .is_some_and(|(first, text)| (wanted == &'?' || wanted == first) && naive(rest, text)),
    }
}

proptest! {
    #[test]
    fn the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn the_definition_without_question_marks(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
        prop_assert_eq!(matches_star(&pattern, &text), matches(&pattern, &text));
    }
}
