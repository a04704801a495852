use serde_json::{Value, json};

use super::{DEFAULT_LIMIT, EventFormat, Filter, FilterError, MAX_LIMIT, RoomEventFilter, Subject};

fn filter(json: Value) -> Filter {
    Filter::parse(&json.to_string()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn events(json: Value) -> RoomEventFilter {
    RoomEventFilter::parse(&json.to_string()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn an_empty_filter_admits_everything() {
    let filter = filter(json!({}));
    assert_eq!(filter.event_format, EventFormat::Client);
    assert!(filter.room.admits_room("!a:x") && !filter.room.include_leave);
    assert!(filter.room.timeline.admits_type("m.room.message"));
    assert_eq!(filter.room.timeline.limit(), DEFAULT_LIMIT);
    assert_eq!(filter.prune(r#"{"a":1}"#), None);
}

#[test]
fn what_is_no_filter_is_refused() {
    let malformed = [
        json!([]),
        json!("x"),
        json!({ "room": [] }),
        json!({ "room": { "timeline": [] } }),
        json!({ "presence": ["x"] }),
        json!({ "event_format": "other" }),
        json!({ "room": { "timeline": { "limit": -1 } } }),
        json!({ "room": { "timeline": { "limit": 1.5 } } }),
        json!({ "presence": { "limit": -1.0 } }),
        json!({ "room": { "timeline": { "types": "m.room.message" } } }),
    ];
    for json in malformed {
        assert!(Filter::parse(&json.to_string()).is_err(), "{json}");
    }
    assert!(matches!(Filter::parse("{"), Err(FilterError::Malformed(_))));
    let sender = json!({ "room": { "state": { "not_senders": ["alice"] } } });
    assert!(matches!(Filter::parse(&sender.to_string()), Err(FilterError::NotAUserId)));
    let rooms = [
        json!({ "room": { "rooms": ["#a:x"] } }),
        json!({ "room": { "account_data": { "not_rooms": ["x"] } } }),
    ];
    for room in rooms {
        assert!(matches!(Filter::parse(&room.to_string()), Err(FilterError::NotARoomId)), "{room}");
    }
}

#[test]
fn a_part_ignores_keys_that_it_does_not_have() {
    let of_rooms = json!({
        "rooms": "x", "not_rooms": ["x"], "contains_url": 1, "lazy_load_members": "yes",
        "include_redundant_members": [], "unread_thread_notifications": {}, "include_leave": 1,
    });
    let filter = filter(json!({
        "rooms": 1, "types": "x", "limit": {}, "lazy_load_members": 7,
        "timeline": 5, "presence": of_rooms, "account_data": of_rooms,
        "room": {
            "presence": 1, "types": 1, "limit": "x", "lazy_load_members": 1, "contains_url": 1,
            "state": { "include_leave": 1 }, "timeline": { "presence": 5 },
        },
    }));
    assert!(filter.presence.admits_type("m.presence") && filter.account_data.admits_type("m.tag"));
}

#[test]
fn nulls_are_absent() {
    let filter = filter(json!({
        "event_fields": null, "event_format": null, "presence": null, "account_data": { "types": null },
        "room": {
            "rooms": null, "include_leave": null, "state": null,
            "timeline": { "limit": null, "contains_url": null, "lazy_load_members": null, "rooms": null },
        },
    }));
    assert_eq!(filter.room.timeline.limit(), DEFAULT_LIMIT);
}

#[test]
fn a_star_stands_for_every_room_and_every_user() {
    let none = filter(json!({ "room": { "not_rooms": ["*"], "timeline": { "not_rooms": ["*"] } } }));
    assert!(!none.room.admits_room("!a:x") && none.room.timeline.admits_nothing());
    assert!(!none.room.timeline.admits_room("!a:x"));
    assert!(filter(json!({ "room": { "rooms": ["*"] } })).room.admits_room("!a:x"));
    let subject = Subject { event_type: "x", sender: Some("@a:x"), content: "{}" };
    assert!(events(json!({ "senders": ["*"] })).admits(subject));
    assert!(!events(json!({ "not_senders": ["*"] })).admits(subject));
}

#[test]
fn long_filters_are_refused() {
    let types = |count: usize, length: usize| {
        let types = vec!["x".repeat(length); count];
        RoomEventFilter::parse(&json!({ "types": types, "not_types": types }).to_string())
    };
    assert!(types(100, 255).is_ok());
    assert!(matches!(types(101, 1), Err(FilterError::TooManyPatterns)));
    assert!(matches!(types(1, 256), Err(FilterError::PatternTooLong)));
    let fields = json!({ "event_fields": vec!["content"; 101] }).to_string();
    assert!(matches!(Filter::parse(&fields), Err(FilterError::Malformed(_))));
    let rooms = |count: usize| {
        let rooms: Vec<_> = (0..count).map(|number| format!("!{number}:x")).collect();
        Filter::parse(&json!({ "room": { "rooms": rooms } }).to_string())
    };
    assert!(rooms(5000).is_ok_and(|filter| filter.room.admits_room("!4999:x")));
    assert!(matches!(rooms(10_000), Err(FilterError::TooLong)));
}

#[test]
fn exclusion_wins() {
    let filter = events(json!({ "types": ["m.room.*"], "not_types": ["*.topic"], "not_senders": ["@b:x"] }));
    let admits =
        |event_type, sender| filter.admits(Subject { event_type, sender: Some(sender), content: "{}" });
    assert!(admits("m.room.message", "@a:x"));
    assert!(!admits("m.room.topic", "@a:x"));
    assert!(!admits("m.reaction", "@a:x"));
    assert!(!admits("m.room.message", "@b:x"));
    let rooms = events(json!({ "rooms": ["!a:x", "!b:x"], "not_rooms": ["!b:x"] }));
    let admitted: Vec<&str> =
        ["!a:x", "!b:x", "!c:x"].into_iter().filter(|id| rooms.admits_room(id)).collect();
    assert_eq!(admitted, ["!a:x"]);
}

#[test]
fn senders_are_asked_for_by_name() {
    let filter = events(json!({ "senders": ["@a:x"] }));
    assert!(!filter.admits_type("m.tag"), "nobody sent it");
    assert!(filter.admits(Subject { event_type: "x", sender: Some("@a:x"), content: "{}" }));
}

#[test]
fn urls_are_looked_for_in_the_content() {
    let with = events(json!({ "contains_url": true }));
    let without = events(json!({ "contains_url": false }));
    for (content, has) in [(r#"{"url":"mxc://x"}"#, true), (r#"{"url":1}"#, false), ("{}", false)] {
        let subject = Subject { event_type: "m.room.message", sender: None, content };
        assert_eq!((with.admits(subject), without.admits(subject)), (has, !has), "{content}");
    }
}

#[test]
fn nothing_passes_an_empty_list() {
    for json in [json!({ "types": [] }), json!({ "senders": [] }), json!({ "not_types": ["x", "*"] })] {
        assert!(events(json.clone()).admits_nothing(), "{json}");
    }
    assert!(!events(json!({ "not_senders": [], "types": ["x"] })).admits_nothing());
}

#[test]
fn limits_are_bounded() {
    for (limit, taken) in [(0_u64, 0), (5, 5), (100_000, MAX_LIMIT), (u64::MAX, MAX_LIMIT)] {
        assert_eq!(events(json!({ "limit": limit })).limit(), taken);
    }
    for (limit, taken) in [("20.0", 20), ("1e2", 100), ("0.0", 0), ("1e300", MAX_LIMIT)] {
        let text = format!(r#"{{ "limit": {limit} }}"#);
        assert_eq!(RoomEventFilter::parse(&text).map(|filter| filter.limit()).ok(), Some(taken), "{limit}");
    }
    assert_eq!(Filter::with_timeline_limit(3).room.timeline.limit(), 3);
}

#[test]
fn thread_counts_go_by_the_name_that_was_used() {
    let key = |json| events(json).thread_counts_key();
    assert_eq!(key(json!({})), None);
    assert_eq!(key(json!({ "unread_thread_notifications": true })), Some("unread_thread_notifications"));
    let unstable = "org.matrix.msc3773.unread_thread_notifications";
    assert_eq!(key(json!({ unstable: true })), Some(unstable));
}

#[test]
fn fields_are_kept_by_their_paths() {
    let event = r#"{"type":"x","content":{"body":"b","url":"u","a.b":1},"unsigned":{"age":1,"x":2}}"#;
    let kept = |fields: Value| -> Value {
        let pruned = filter(json!({ "event_fields": fields })).prune(event).unwrap_or_default();
        serde_json::from_str(&pruned).unwrap_or_default()
    };
    assert_eq!(kept(json!(["type", "content.body"])), json!({ "type": "x", "content": { "body": "b" } }));
    assert_eq!(
        kept(json!(["content.body", "content.url"])),
        json!({ "type": "x", "content": { "body": "b", "url": "u" } })
    );
    assert_eq!(kept(json!(["content.a\\.b"])), json!({ "type": "x", "content": { "a.b": 1 } }));
    assert_eq!(
        kept(json!(["content.none", "unsigned.age"])),
        json!({ "type": "x", "content": {}, "unsigned": { "age": 1 } })
    );
}

#[test]
fn what_makes_an_event_is_always_kept() {
    let event = json!({
        "type": "m.room.name", "event_id": "$a", "sender": "@a:x", "state_key": "", "origin_server_ts": 1,
        "content": { "name": "n" }, "unsigned": {},
    });
    for fields in [json!([]), json!(["content.none"]), json!(["nothing"])] {
        let pruned = filter(json!({ "event_fields": fields })).prune(&event.to_string()).unwrap_or_default();
        let pruned: Value = serde_json::from_str(&pruned).unwrap_or_default();
        let expected = json!({
            "type": "m.room.name", "event_id": "$a", "sender": "@a:x", "state_key": "", "origin_server_ts": 1,
            "content": {},
        });
        assert_eq!(pruned, expected, "{fields}");
    }
}
