#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{LevelName, PowerLevels, UserLevel, additional_creators, creator, parse_level};
use crate::{Event, RoomVersion, room_version::ALL};

const CREATOR: &str = "@creator:a";

fn event(content: Value) -> Event {
    let json = json!({ "sender": CREATOR, "content": content });
    Event::new("$e", json.as_object().unwrap().clone())
}

fn create(version: &RoomVersion) -> Event {
    let mut content = json!({ "additional_creators": ["@second:a", 1] });
    if !version.creator_is_sender {
        content["creator"] = CREATOR.into();
    }
    event(content)
}

#[test]
fn infinite_is_greater_than_any_level() {
    assert!(UserLevel::Infinite > UserLevel::Level(i64::MAX));
    assert!(UserLevel::Infinite.reaches(i64::MAX));
    assert!(UserLevel::Level(50).reaches(50) && !UserLevel::Level(50).reaches(51));
    assert!(UserLevel::Level(-1) < UserLevel::Level(0));
}

#[test]
fn defaults_without_power_levels() {
    for version in &ALL {
        let create = create(version);
        let levels = PowerLevels::new(version, &create, None);
        let expected = |creator| match (version.privileged_creators, creator) {
            (true, _) => UserLevel::Infinite,
            (false, true) => UserLevel::Level(100),
            (false, false) => UserLevel::Level(0),
        };
        assert_eq!(levels.user_level(CREATOR), Ok(expected(true)));
        assert_eq!(levels.user_level("@second:a"), Ok(expected(false)));
        assert_eq!(levels.user_level("@other:a"), Ok(UserLevel::Level(0)));
        let of = |name| levels.level(name).unwrap();
        assert_eq!(LevelName::ALL.map(of), [0, 0, 50, 50, 50, 50, 0]);
        assert_eq!(levels.event_level("m.room.name", true), Ok(50));
        assert_eq!(levels.event_level("m.room.message", false), Ok(0));
        assert_eq!(levels.notification_level("room"), Ok(50));
    }
}

#[test]
fn levels_are_read_from_the_content() {
    for version in &ALL {
        let create = create(version);
        let content = event(json!({
            "users": { "@a:a": 10 }, "users_default": 1, "events": { "m.room.name": 2 }, "events_default": 3,
            "state_default": 4, "ban": 5, "kick": 6, "redact": 7, "invite": 8, "notifications": { "room": 9 },
        }));
        let levels = PowerLevels::new(version, &create, Some(&content));
        assert_eq!(levels.user_level("@a:a"), Ok(UserLevel::Level(10)));
        assert_eq!(levels.user_level("@b:a"), Ok(UserLevel::Level(1)));
        let creator = if version.privileged_creators { UserLevel::Infinite } else { UserLevel::Level(1) };
        assert_eq!(levels.user_level(CREATOR), Ok(creator));
        let of = |name| levels.level(name).unwrap();
        assert_eq!(LevelName::ALL.map(of), [1, 3, 4, 5, 7, 6, 8]);
        assert_eq!(levels.event_level("m.room.name", false), Ok(2));
        assert_eq!(levels.event_level("m.room.topic", true), Ok(4));
        assert_eq!(levels.event_level("m.room.topic", false), Ok(3));
        assert_eq!(levels.notification_level("room"), Ok(9));
        assert_eq!(levels.notification_level("other"), Ok(50));
        assert!(levels.may("@a:a", LevelName::Invite) && !levels.may("@b:a", LevelName::Invite));
        assert!(
            levels.may_send("@a:a", "m.room.topic", true) && !levels.may_send("@b:a", "m.room.topic", true)
        );
    }
}

#[test]
fn unreadable_levels_matter_to_whom_needs_them() {
    for version in &ALL {
        let create = create(version);
        let content = event(
            json!({ "users": { "@a:a": {}, "@b:a": 60 }, "ban": [], "events": 1, "notifications": "x" }),
        );
        let levels = PowerLevels::new(version, &create, Some(&content));
        levels.user_level("@a:a").unwrap_err();
        assert_eq!(levels.user_level("@b:a"), Ok(UserLevel::Level(60)));
        levels.level(LevelName::Ban).unwrap_err();
        assert_eq!(levels.level(LevelName::Kick), Ok(50));
        levels.event_level("m.room.name", true).unwrap_err();
        levels.notification_level("room").unwrap_err();
        assert!(!levels.may("@b:a", LevelName::Ban) && levels.may("@b:a", LevelName::Kick));
        assert!(!levels.may_send("@b:a", "m.room.name", true));
    }
}

#[test]
fn creators_by_room_version() {
    for version in &ALL {
        let create = event(json!({ "creator": "@named:a", "additional_creators": ["@second:a"] }));
        let expected = if version.creator_is_sender { CREATOR } else { "@named:a" };
        assert_eq!(creator(version, &create), Some(expected));
        let additional = additional_creators(version, &create).count();
        assert_eq!(additional, usize::from(version.privileged_creators));
    }
}

#[test]
fn levels_in_strings_have_one_sign_and_digits() {
    for (string, level) in [
        ("\u{a0}7\t", Some(7)),
        ("-0", Some(0)),
        ("99999999999999999999", Some(i64::MAX)),
        ("-99999999999999999999", Some(i64::MIN)),
        ("", None),
        (" ", None),
        ("+", None),
        // Two signs. (ruma accepts it.)
        ("++5", None),
        ("+-5", None),
        ("5 0", None),
        ("5.0", None),
        ("1e2", None),
        ("0x1", None),
        ("１", None),
    ] {
        assert_eq!(parse_level(&ALL[8], &string.into()), level, "{string:?}");
        assert_eq!(parse_level(&ALL[9], &string.into()), None);
    }
}

#[test]
fn numbers_beyond_64_bits_saturate_until_version_5() {
    for (number, level) in [(json!(u64::MAX), i64::MAX), (json!(1e300), i64::MAX), (json!(-1e300), i64::MIN)]
    {
        assert_eq!(parse_level(&ALL[4], &number), Some(level));
        assert_eq!(parse_level(&ALL[5], &number), None);
    }
    assert_eq!(parse_level(&ALL[4], &json!(-5.9)), Some(-5));
    for odd in [json!(null), json!(true), json!([1]), json!({})] {
        assert!(ALL.iter().all(|version| parse_level(version, &odd).is_none()));
    }
}
