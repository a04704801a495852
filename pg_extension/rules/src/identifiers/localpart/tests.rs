use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{Case, from_name, is_compliant_localpart, is_localpart};

#[test]
fn localparts_of_new_users() {
    for localpart in ["a", "0", "._=-/+", "alice.9"] {
        assert!(is_localpart(localpart) && is_compliant_localpart(localpart), "{localpart:?}");
    }
    for localpart in ["", "A", "a b", "é", "a:b", "a\0", "a~"] {
        assert!(!is_localpart(localpart), "{localpart:?}");
    }
}

#[test]
fn localparts_of_old_users() {
    for localpart in ["A", "!", "~", "@#$"] {
        assert!(is_compliant_localpart(localpart), "{localpart:?}");
    }
    for localpart in ["", " ", "a\u{7f}", "é", "a:b", "a\n"] {
        assert!(!is_compliant_localpart(localpart), "{localpart:?}");
    }
}

#[test]
fn names_become_localparts() {
    assert_eq!(from_name("Álice_B=1", Case::Fold), "=c3=81lice_b=3d1");
    assert_eq!(from_name("Álice_B=1", Case::Keep), "=c3=81lice___b=3d1");
    assert_eq!(from_name("a-b./+c", Case::Keep), "a-b./+c");
}

proptest! {
    #[test]
    fn every_name_becomes_a_localpart(name in ".+") {
        prop_assert!(is_localpart(&from_name(&name, Case::Fold)));
        prop_assert!(is_localpart(&from_name(&name, Case::Keep)));
    }

    #[test]
    fn names_stay_apart(one in any::<String>(), other in "[aA_=é]{0,4}", another in "[aA_=é]{0,4}") {
        prop_assert_eq!(from_name(&other, Case::Keep) == from_name(&another, Case::Keep), other == another);
        prop_assert_eq!(
            from_name(&one, Case::Fold),
            from_name(&one.to_ascii_lowercase(), Case::Fold)
        );
    }
}
