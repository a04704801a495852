use serde_json::{Value, json};

use super::{Object, array, object_text};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text} is not JSON: {error}"))
}

#[test]
fn objects_are_written_in_the_order_of_the_calls() {
    let text = object_text(|object| {
        object.value("b", 1).raw("a", "[1, 2]").object("o", |inner| {
            inner.value("x", Value::Null);
        });
    });
    assert_eq!(text, r#"{"b":1,"a":[1, 2],"o":{"x":null}}"#);
    assert_eq!(object_text(|_| {}), "{}");
}

#[test]
fn keys_and_values_are_escaped() {
    let text = object_text(|object| {
        object.value("a\"b\n", "\u{1}\\");
    });
    assert_eq!(parsed(&text), json!({ "a\"b\n": "\u{1}\\" }));
}

#[test]
fn arrays_take_texts_as_they_are() {
    let texts = |items: &[&str]| {
        let mut out = "x".to_owned();
        array(&mut out, items);
        out
    };
    assert_eq!(texts(&[]), "x[]");
    assert_eq!(texts(&["1"]), "x[1]");
    assert_eq!(texts(&["1", "{}", "null"]), "x[1,{},null]");
    let events = object_text(|object| {
        object.events("timeline", ["{}"]).array("none", [""; 0]);
    });
    assert_eq!(parsed(&events), json!({ "timeline": { "events": [{}] }, "none": [] }));
}

#[test]
fn an_object_can_be_continued() {
    let mut text = object_text(|object| {
        object.value("a", 1);
    });
    assert_eq!(text.pop(), Some('}'));
    let mut object = Object::reopen(&mut text);
    object.value("b", 2);
    object.close();
    assert_eq!(text, r#"{"a":1,"b":2}"#);
}
