//! The summary of a room's members, by which clients name rooms without a name. Client-Server API,
//! `RoomSummary`.

use std::collections::HashMap;

use matriarch_rules::json_text::Object;

use super::section::Section;
use crate::{base::spi::Db, read::stored_event::Events};

/// The greatest number of members in `m.heroes`.
const HEROES: usize = 5;

const NAMES: &str = "
    select w.room_nid, k.current_event_nid
    from unnest($1::bigint[]) w (room_nid)
    cross join unnest('{m.room.name,m.room.canonical_alias}'::text[]) t (type)
    cross join lateral (
        select current_event_nid
        from room_state_keys
        where room_nid = w.room_nid and type = t.type and state_key = '' and current_event_nid is not null
        offset 0
    ) k";

/// One more than needed, as the asker is left out. `key_idx` grows in order of first use, so the oldest
/// members come first; with `offset 0` they are read in this order, and no more than needed.
const MEMBERS: &str = "
    select w.room_nid, h.state_key
    from unnest($1::bigint[]) w (room_nid)
    cross join lateral (
        select k.state_key
        from (
            select type, state_key, key_idx
            from room_state_keys
            where room_nid = w.room_nid
            order by key_idx
            offset 0
        ) k
        join users u on u.user_id = k.state_key
        join memberships m on m.room_nid = w.room_nid and m.user_nid = u.user_nid
        where k.type = 'm.room.member' and m.membership = any($2)
        order by k.key_idx
        limit 6
    ) h";

/// Members who can be heroes, and those who can where no such member is left.
const PRESENT: [&str; 2] = ["join", "invite"];
const FORMER: [&str; 2] = ["leave", "ban"];

/// Whether a section has a summary: memberships may have changed, or the room may have lost the name that
/// was used instead of its heroes.
fn is_due(section: &Section<'_>) -> bool {
    let is_told =
        |event_type: &str| matches!(event_type, "m.room.member" | "m.room.name" | "m.room.canonical_alias");
    section.part.is_joined()
        && (section.is_full()
            || section.timeline.limited
            || section.timeline.window().any(|event| is_told(&event.event_type)))
}

/// Finds the heroes of each section; none if it has no summary or the room has a name.
pub fn find_heroes(db: &Db<'_>, events: &Events<'_, '_>, sections: &mut [Section<'_>]) {
    let mut rooms: Vec<i64> =
        sections.iter().filter(|section| is_due(section)).map(|section| section.part.room.room_nid).collect();
    rooms.sort_unstable();
    rooms.dedup();
    if rooms.is_empty() {
        return;
    }
    let names: Vec<(i64, i64)> = db
        .query(NAMES, &[rooms.clone().into()])
        .map(|row| (row.get("room_nid"), row.get("current_event_nid")))
        .collect();
    events.load(names.iter().map(|(_, nid)| *nid));
    let is_named = |room: &i64| {
        names.iter().filter(|(named, _)| named == room).any(|(_, nid)| {
            let event = events.get(*nid);
            let text = |key| event.content_str(key).is_some_and(|text| !text.is_empty());
            text("name") || text("alias")
        })
    };
    rooms.retain(|room| !is_named(room));

    let present = members(db, PRESENT, rooms.clone());
    let of_section = |members: &HashMap<i64, Vec<String>>, section: &Section<'_>| -> Vec<String> {
        let others = members.get(&section.part.room.room_nid).into_iter().flatten();
        others.filter(|user| **user != *section.reader.user_id).take(HEROES).cloned().collect()
    };
    for section in sections.iter_mut().filter(|section| is_due(section)) {
        section.heroes = of_section(&present, section);
    }

    // If no other members are left, former members are the heroes.
    let is_alone = |section: &Section<'_>| {
        section.heroes.is_empty() && is_due(section) && rooms.contains(&section.part.room.room_nid)
    };
    let alone: Vec<i64> = sections
        .iter()
        .filter(|section| is_alone(section))
        .map(|section| section.part.room.room_nid)
        .collect();
    let former = members(db, FORMER, alone);
    for section in sections.iter_mut().filter(|section| is_alone(section)) {
        section.heroes = of_section(&former, section);
    }
}

fn members(db: &Db<'_>, memberships: [&str; 2], rooms: Vec<i64>) -> HashMap<i64, Vec<String>> {
    let mut members: HashMap<i64, Vec<String>> = HashMap::new();
    if !rooms.is_empty() {
        for row in db.query(MEMBERS, &[rooms.into(), memberships.to_vec().into()]) {
            members.entry(row.get("room_nid")).or_default().push(row.get("state_key"));
        }
    }
    members
}

/// Writes the summary of a section.
pub fn write(summary: &mut Object<'_>, section: &Section<'_>) {
    if !is_due(section) {
        return;
    }
    if !section.heroes.is_empty() {
        summary.value("m.heroes", &section.heroes);
    }
    summary.value("m.joined_member_count", section.part.room.joined_members);
    summary.value("m.invited_member_count", section.part.room.invited_members);
}
