#![allow(clippy::unwrap_used, reason = "for tests")]

use super::*;

fn index(events: &[(&str, &[&str])]) -> Index {
    let mut index = Index::default();
    for (id, auth_events) in events {
        let auth_events: Vec<String> = auth_events.iter().map(|&id| id.to_owned()).collect();
        index.add(id, &auth_events, 10, *id != "create");
    }
    index
}

fn names(index: &Index, numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| index.ids[*number as usize].to_string()).collect()
}

#[test]
fn what_is_cited_comes_first() {
    let index = index(&[
        ("member", &["create", "levels", "levels"]),
        ("levels", &["create", "elsewhere"]),
        ("create", &[]),
        ("one", &["two"]),
        ("two", &["one"]),
        ("three", &["two"]),
    ]);
    assert_eq!(names(&index, &index.in_order()), ["create", "levels", "member"]);
    assert_eq!(index.count, 6);
}

#[test]
fn an_event_counts_once() {
    let mut index = index(&[("create", &[]), ("levels", &["create"])]);
    assert_eq!(index.add("levels", &[], 10, false), None);
    assert!(index.add("name", &["create".to_owned()], 10, true).is_some());
    let order = index.in_order();
    order.iter().for_each(|number| index.note_stored(*number));
    assert_eq!(index.stored_state(), ["levels", "name"]);
    assert_eq!(index.add("create", &[], 10, true), None);
    assert_eq!(index.stored_state(), ["create", "levels", "name"]);
}

#[test]
fn parts_are_bounded() {
    let index = index(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]);
    let sizes = |events, bytes| -> Vec<usize> {
        index.parts(&index.in_order(), events, bytes).iter().map(Vec::len).collect()
    };
    assert_eq!(sizes(3, 1000), [3, 1]);
    assert_eq!(sizes(9, 25), [2, 2]);
    assert_eq!(sizes(9, 5), [1, 1, 1, 1]);
}
