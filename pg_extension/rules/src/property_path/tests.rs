use proptest::{
    collection::vec,
    prelude::{prop_assert_eq, proptest},
};

use super::{join, split};

#[test]
fn escapes() {
    assert_eq!(split(r"a\.b\\.c"), [r"a.b\", "c"]);
    assert_eq!(split(r"a\x.b\"), [r"a\x", r"b\"]);
    assert_eq!(split(""), [""]);
    assert_eq!(split("a..b."), ["a", "", "b", ""]);
}

proptest! {
    #[test]
    fn there_and_back(names in vec(r"[a.\\é]{0,4}", 1..4)) {
        prop_assert_eq!(split(&join(names.iter().map(String::as_str))), names);
    }
}
