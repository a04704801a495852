use super::objects;

#[test]
fn braces_in_strings_are_no_objects() {
    assert_eq!(objects(r#"{"a": [{}, {"b{": "{\"{\\"}, {}]}"#), 4);
}
