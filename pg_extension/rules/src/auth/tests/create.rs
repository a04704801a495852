//! Rule 1.

use serde_json::{Value, json};

use super::{CREATOR, Room, all, create_content, versions, with};
use crate::{Event, RoomVersion};

fn create(version: &'static RoomVersion, content: Value) -> Event {
    Room::new(version).event(CREATOR, "m.room.create", Some(""), content)
}

#[test]
fn create_is_allowed() {
    for version in all() {
        Room::new(version).allows(&create(version, create_content(version)));
    }
}

#[test]
fn create_with_previous_events_is_rejected() {
    for version in all() {
        let prev_events = if version.event_id_in_event() {
            json!([["$prev:a", { "sha256": "" }]])
        } else {
            json!(["$prev"])
        };
        let event = with(create(version, create_content(version)), "prev_events", prev_events);
        Room::new(version).rejects(&event, "1.1");
    }
}

#[test]
fn create_with_room_id_of_another_server_is_rejected() {
    for version in versions(1, 11) {
        for room_id in [json!("!room:b"), json!("!room"), json!(1)] {
            let event = with(create(version, create_content(version)), "room_id", room_id);
            Room::new(version).rejects(&event, "1.2");
        }
    }
}

#[test]
fn create_with_room_id_is_rejected_where_it_makes_the_room_id() {
    for version in versions(12, 12) {
        for room_id in [json!("!room:a"), json!("!event:a"), json!(null)] {
            let event = with(create(version, create_content(version)), "room_id", room_id);
            Room::new(version).rejects(&event, "1.2");
        }
    }
}

#[test]
fn create_of_unknown_room_version_is_rejected() {
    for version in all() {
        for id in [json!("13"), json!("1.2-beta"), json!(11), json!(null)] {
            let mut content = create_content(version);
            content["room_version"] = id;
            Room::new(version).rejects(&create(version, content), "1.3");
        }
    }
}

#[test]
fn create_without_room_version_is_allowed() {
    for version in all() {
        let mut content = create_content(version);
        content.as_object_mut().unwrap().remove("room_version");
        Room::new(version).allows(&create(version, content));
    }
}

#[test]
fn create_without_creator_is_rejected_until_version_10() {
    for version in all() {
        let event = create(version, json!({ "room_version": version.id }));
        if version.creator_is_sender {
            Room::new(version).allows(&event);
        } else {
            Room::new(version).rejects(&event, "1.4");
        }
    }
}

#[test]
fn additional_creators_must_be_user_ids_since_version_12() {
    let malformed = [json!(null), json!("@a:a"), json!({}), json!([1]), json!(["@a:a", "a"]), json!(["@a"])];
    for version in all() {
        for creators in &malformed {
            let mut content = create_content(version);
            content["additional_creators"] = creators.clone();
            let event = create(version, content);
            if version.privileged_creators {
                Room::new(version).rejects(&event, "1.4");
            } else {
                Room::new(version).allows(&event);
            }
        }
        for creators in [json!([]), json!(["@a:a", "@B ö:b", "@a:a"])] {
            let mut content = create_content(version);
            content["additional_creators"] = creators;
            Room::new(version).allows(&create(version, content));
        }
    }
}
