use super::JsonSize;

fn size(text: &str) -> JsonSize {
    let mut size = JsonSize::default();
    // In parts, as a body arrives.
    for part in text.as_bytes().chunks(3) {
        size.read(part);
    }
    size
}

#[test]
fn objects_and_arrays_are_counted_outside_of_strings() {
    let counted = size(r#"{"a": [{}, {"b{\"{": "[\\"}], "c": [1, 2]}"#);
    assert_eq!((counted.containers, counted.depth), (5, 3));
    assert_eq!(size("\"{{{{\"").containers, 0);
    assert_eq!(size("").memory(), 0);
}

#[test]
fn the_estimate_follows_what_takes_memory() {
    let (objects, words) = (size(&r#"{"":0},"#.repeat(1000)), size(&"lorem ".repeat(1000)));
    assert!(objects.memory() > 90 * objects.bytes, "{}", objects.memory());
    assert!(words.memory() < 4 * words.bytes);
    assert!(size(&"0,".repeat(1000)).memory() > 40 * 2000);
    assert!(size(&"[0],".repeat(1000)).memory() > 40 * 4000);
}

#[test]
fn closing_what_is_not_open_is_harmless() {
    assert_eq!(size("}}]]{").depth, 1);
}
