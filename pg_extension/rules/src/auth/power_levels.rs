//! Rule 9 (10 until room version 5 and since 12): changes of power levels.

use std::{collections::BTreeSet, ops::Deref};

use serde_json::Value;

use super::{
    rule::{Rejection, Rule},
    state::State,
};
use crate::{
    Event, Map, RoomVersion,
    identifiers::is_user_id,
    power_levels::{LevelName, MalformedLevel, UserLevel, is_creator, level_in, parse_level},
};

/// Rule 9: if type is `m.room.power_levels`, all of its clauses. Numbers below are those of room version
/// 12, where it is rule 10.
pub(super) fn check<E, F>(
    state: &State<'_, E, F>,
    event: &Event,
    current: Option<&Event>,
    sender_level: UserLevel,
) -> Result<(), Rejection>
where
    E: Deref<Target = Event>,
    F: Fn(&str, &str) -> Option<E>,
{
    check_content(state.version, &state.create, event.content())?;
    // 10.5. If there is no previous `m.room.power_levels` event in the room, allow.
    let Some(current) = current else {
        return Ok(());
    };
    let alteration = Alteration {
        version: state.version,
        sender: event.sender(),
        sender_level,
        current: current.content(),
        new: event.content(),
    };
    alteration.check_levels()?;
    alteration.check_events()?;
    alteration.check_users()
}

/// The clauses on the content alone, without the current power levels.
fn check_content(version: &RoomVersion, create: &Event, content: &Map) -> Result<(), Rejection> {
    let reject = |rule, reason: String| Err(Rejection::new(version, rule, reason));
    let is_level = |value: &Value| parse_level(version, value).is_some();
    if version.integer_power_levels {
        // 10.1. If any of the properties `users_default`, `events_default`, `state_default`, `ban`,
        // `redact`, `kick`, or `invite` in `content` are present and not an integer, reject.
        for name in LevelName::ALL.map(LevelName::as_str) {
            if content.get(name).is_some_and(|value| !is_level(value)) {
                return reject(Rule::LevelsNotIntegers, format!("`{name}` is not an integer"));
            }
        }
        // 10.2. If either of the properties `events` or `notifications` in `content` are present and not an
        // object with values that are integers, reject.
        for name in ["events", "notifications"] {
            let well_formed = content
                .get(name)
                .is_none_or(|value| value.as_object().is_some_and(|levels| levels.values().all(is_level)));
            if !well_formed {
                return reject(Rule::LevelMapsNotIntegers, format!("`{name}` is not an object of integers"));
            }
        }
    }
    // 10.3. If the `users` property in `content` is not an object with keys that are valid user IDs with
    // values that are integers (until room version 9: or a string that is an integer), reject. An absent
    // `users` is allowed.
    let users = match content.get("users") {
        None => return Ok(()),
        Some(Value::Object(users)) => users,
        Some(_) => {
            return reject(Rule::LevelUsersMalformed, "`users` is not an object".to_owned());
        }
    };
    for (user_id, level) in users {
        if !is_user_id(user_id) || !is_level(level) {
            return reject(
                Rule::LevelUsersMalformed,
                format!("the entry of {user_id} in `users` is malformed"),
            );
        }
    }
    // 10.4. Since room version 12: if the `users` property in `content` contains the `sender` of the
    // `m.room.create` event or any of the `additional_creators` array (if present) from the `content` of
    // the `m.room.create` event, reject.
    if version.privileged_creators
        && let Some(creator) = users.keys().find(|user_id| is_creator(version, create, user_id))
    {
        return reject(
            Rule::LevelUsersCreator,
            format!("{creator} is a creator, whose power level is infinite"),
        );
    }
    Ok(())
}

/// An entry of `events`, `notifications` or `users` that was added, changed or removed.
struct Entry<'a> {
    key: &'a str,
    current: Option<i64>,
    new: Option<i64>,
}

/// The difference between current and new power levels.
struct Alteration<'a> {
    version: &'a RoomVersion,
    sender: &'a str,
    sender_level: UserLevel,
    current: &'a Map,
    new: &'a Map,
}

impl Alteration<'_> {
    /// 10.6. For the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`,
    /// `kick`, `invite` check if they were added, changed or removed. A level that is absent in either
    /// content is the default.
    fn check_levels(&self) -> Result<(), Rejection> {
        for name in LevelName::ALL {
            let level_in = |content, rule| {
                level_in(self.version, content, name.as_str()).map_err(Rejection::because(self.version, rule))
            };
            let current = level_in(self.current, Rule::LevelCurrent)?;
            let new = level_in(self.new, Rule::LevelNew)?;
            if current == new {
                continue;
            }
            // 10.6.1. If the current value is higher than the `sender`'s current power level, reject.
            if !self.sender_level.reaches(current.unwrap_or(name.default_level())) {
                return self.reject(Rule::LevelCurrent, name.as_str());
            }
            // 10.6.2. If the new value is higher than the `sender`'s current power level, reject.
            if !self.sender_level.reaches(new.unwrap_or(name.default_level())) {
                return self.reject(Rule::LevelNew, name.as_str());
            }
        }
        Ok(())
    }

    /// 10.7 and 10.8: entries of `events` and, since room version 6, `notifications`.
    fn check_events(&self) -> Result<(), Rejection> {
        let (current_rule, new_rule) = (Rule::LevelEventsCurrent, Rule::LevelEventsNew);
        let mut altered = self.altered_entries("events", current_rule, new_rule)?;
        if self.version.limit_notifications_levels {
            altered.extend(self.altered_entries("notifications", current_rule, new_rule)?);
        }
        // 10.7. For each entry being changed in, or removed from, the `events` or `notifications`
        // properties: if the current value is greater than the `sender`'s current power level, reject.
        for entry in &altered {
            if entry.current.is_some_and(|level| !self.sender_level.reaches(level)) {
                return self.reject(current_rule, entry.key);
            }
        }
        // 10.8. For each entry being added to, or changed in, the `events` or `notifications` properties:
        // if the new value is greater than the `sender`'s current power level, reject.
        self.check_new(&altered, new_rule)
    }

    /// 10.9 and 10.10: entries of `users`.
    fn check_users(&self) -> Result<(), Rejection> {
        let (current_rule, new_rule) = (Rule::LevelUsersCurrent, Rule::LevelUsersNew);
        let altered = self.altered_entries("users", current_rule, new_rule)?;
        // 10.9. For each entry being changed in, or removed from, the `users` property, other than the
        // `sender`'s own entry: if the current value is greater than or equal to the `sender`'s current
        // power level, reject.
        for entry in &altered {
            if entry.key != self.sender
                && entry.current.is_some_and(|level| UserLevel::Level(level) >= self.sender_level)
            {
                return self.reject(current_rule, entry.key);
            }
        }
        // 10.10. For each entry being added to, or changed in, the `users` property: if the new value is
        // greater than the `sender`'s current power level, reject.
        self.check_new(&altered, new_rule)
    }

    fn check_new(&self, altered: &[Entry<'_>], rule: Rule) -> Result<(), Rejection> {
        for entry in altered {
            if entry.new.is_some_and(|level| !self.sender_level.reaches(level)) {
                return self.reject(rule, entry.key);
            }
        }
        Ok(())
    }

    /// The entries of `field`, an object of levels, that were added, changed or removed. Rejects by the given
    /// rules if a changed level cannot be read.
    fn altered_entries(
        &self,
        field: &str,
        current_rule: Rule,
        new_rule: Rule,
    ) -> Result<Vec<Entry<'_>>, Rejection> {
        let current = self.entries(self.current, field, current_rule)?;
        let new = self.entries(self.new, field, new_rule)?;
        let keys: BTreeSet<&str> = [current, new]
            .into_iter()
            .flatten()
            .flat_map(|entries| entries.keys().map(String::as_str))
            .collect();
        let mut altered = Vec::new();
        for key in keys {
            if current.and_then(|entries| entries.get(key)) == new.and_then(|entries| entries.get(key)) {
                continue;
            }
            let level_in = |entries: Option<&Map>, rule| match entries {
                Some(entries) => {
                    level_in(self.version, entries, key).map_err(Rejection::because(self.version, rule))
                }
                None => Ok(None),
            };
            let entry =
                Entry { key, current: level_in(current, current_rule)?, new: level_in(new, new_rule)? };
            if entry.current != entry.new {
                altered.push(entry);
            }
        }
        Ok(altered)
    }

    fn entries<'a>(&self, content: &'a Map, field: &str, rule: Rule) -> Result<Option<&'a Map>, Rejection> {
        match content.get(field) {
            None => Ok(None),
            Some(Value::Object(entries)) => Ok(Some(entries)),
            Some(_) => Err(Rejection::because(self.version, rule)(MalformedLevel(field.to_owned()))),
        }
    }

    fn reject(&self, rule: Rule, what: &str) -> Result<(), Rejection> {
        Err(Rejection::new(
            self.version,
            rule,
            format!("the sender's power level is too low for this change of `{what}`"),
        ))
    }
}
