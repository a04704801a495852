//! Presence of the asker and of users who share a room with the asker. Client-Server API, "Presence".

use std::collections::{BTreeMap, HashSet};

use matriarch_rules::filter;

use super::{Asker, account_data, news::News, parts::Columns};
use crate::{
    base::spi::Db,
    client::presence::{self, Subject, Wanted},
};

/// `m.presence` events for each asker, in their order: of users whose presence changed, and of those who now
/// share a room but did not when the token was made.
pub fn news(db: &Db<'_>, askers: &[&Asker], columns: &Columns, news: &News) -> Vec<Vec<String>> {
    let mut events = vec![Vec::new(); askers.len()];
    let mut wanted = Wanted::default();
    let has_any = |index: usize| news.probes[index].presence || !news.device_lists[index].changed.is_empty();
    let owners: Vec<usize> =
        (0..askers.len()).filter(|&index| askers[index].presence && has_any(index)).collect();
    for &index in &owners {
        let met = news.device_lists[index].changed.iter().cloned();
        wanted.met.extend(met.map(|user_id| (wanted.askers.len(), user_id)));
        wanted.askers.push(columns.users[index]);
        wanted.tokens.push(columns.tokens[index].clone());
    }
    let found = presence::news(db, wanted);
    if found.iter().all(|users| users.is_empty()) {
        return events;
    }
    let ignored = account_data::ignored(db, owners.iter().map(|&index| columns.users[index]).collect());
    for (index, users) in owners.into_iter().zip(found) {
        let ignored = ignored.get(&columns.users[index]);
        let filter = &askers[index].filter.presence;
        let is_wanted = |subject: &&Subject| {
            let event =
                filter::Subject { event_type: "m.presence", sender: Some(&subject.user_id), content: "{}" };
            filter.admits(event) && !ignored.is_some_and(|ignored| ignored.contains(&subject.user_id))
        };
        events[index] = users.values().filter(is_wanted).map(Subject::event).collect();
    }
    events
}

/// All `m.presence` events for a user, for the deprecated `/initialSync`.
pub fn all(db: &Db<'_>, user_nid: i64, ignored: &HashSet<String>) -> Vec<String> {
    let wanted = Wanted { askers: vec![user_nid], tokens: vec![None], met: Vec::new() };
    let found = presence::news(db, wanted);
    let shown = found.iter().flat_map(BTreeMap::values);
    shown.filter(|subject| !ignored.contains(&subject.user_id)).map(Subject::event).collect()
}
