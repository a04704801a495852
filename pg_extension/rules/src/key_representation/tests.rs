use proptest::{
    collection::vec,
    prelude::{any, prop_assert_eq, proptest},
};

use super::{decode, encode};

#[test]
fn mistyped_keys_are_refused() {
    let text = encode(&[7; 32]);
    assert_eq!(decode(&text), Some(vec![7; 32]));
    assert_eq!(decode(&text.replace(' ', "\n\t")), Some(vec![7; 32]));
    let swapped = text.replacen(&text[5..6], if &text[5..6] == "a" { "b" } else { "a" }, 1);
    assert_eq!(decode(&swapped), None);
    for wrong in ["", " ", "0", "l", "1", "11", "Es", "é", &text[..text.len() - 1], &format!("1{text}1")] {
        assert_eq!(decode(wrong), None, "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn there_and_back(key in vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(decode(&encode(&key)), Some(key));
    }
}
