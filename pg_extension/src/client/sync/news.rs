//! Finds the news of each asker: which rooms have news, and of which kinds.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use matriarch_rules::sync_token::SyncToken;

use super::{
    Asker,
    account_data::{self, Datum, GLOBAL, Ignored},
    ephemeral::{self, Ephemeral},
    out_of_band_memberships::{self, OutOfBand},
    parts::{self, Columns, Part, Parts},
    probe::{self, Probe},
};
use crate::{
    base::spi::Db,
    client::end_to_end_encryption::device_lists::{self, DeviceLists, Interval},
};

/// The news of all askers, from which the sections are made.
pub struct News {
    /// By asker.
    pub probes: Vec<Probe>,
    pub parts: Parts,
    /// By asker.
    out_of_band: BTreeMap<usize, Vec<OutOfBand>>,
    pub ephemeral: Ephemeral,
    /// By asker and room.
    pub data: BTreeMap<(usize, i64), Vec<Datum>>,
    pub ignored: Ignored,
    /// By asker; empty for initial syncs.
    pub device_lists: Vec<DeviceLists>,
}

/// Finds the news of each asker.
pub fn find(db: &Db<'_>, askers: &[&Asker], columns: &Columns, now: &SyncToken) -> News {
    let found = probe::find(db, askers, columns);
    let mut parts = parts::changed(db, columns, &found);
    let device_lists = device_lists(db, askers, &found, &parts, now);
    let ephemeral = ephemeral::changed(db, columns, &found);
    let data = if found.iter().any(|found| found.account_data) {
        account_data::changed(db, columns)
    } else {
        BTreeMap::new()
    };
    let places = ephemeral.receipts.keys().chain(&ephemeral.typing).chain(data.keys());
    parts::add(db, columns, &mut parts, places.copied().filter(|(_, room_nid)| *room_nid != GLOBAL));
    let mut out_of_band = if found.iter().any(|found| found.out_of_band) {
        out_of_band_memberships::changed(db, columns)
    } else {
        BTreeMap::new()
    };
    let ignored = if parts.is_empty() && out_of_band.is_empty() {
        Ignored::new()
    } else {
        account_data::ignored(db, columns.users.clone())
    };
    let invites = parts.values().map(|part| part.membership.as_str());
    let mut invites = invites.chain(out_of_band.values().flatten().map(|room| room.membership.as_str()));
    let blocking = if invites.any(|membership| membership == "invite") {
        account_data::blocking_invites(db, columns.users.clone())
    } else {
        HashSet::new()
    };
    let is_wanted = |asker: usize, room_id: &str, membership: &str, sender: &String| {
        let asker = askers[asker];
        if membership == "invite" && blocking.contains(&asker.session.user_nid) {
            return false;
        }
        let ignored = ignored.get(&asker.session.user_nid);
        let by_ignored = membership == "invite" && ignored.is_some_and(|users| users.contains(sender));
        asker.filter.room.admits_room(room_id) && !by_ignored
    };
    parts.retain(|(asker, _), part| {
        // A partial room is left out until its members are loaded, unless the client lazy-loads members.
        let is_whole = !part.room.partial || !part.is_joined() || askers[*asker].loads_members_lazily();
        is_whole && is_wanted(*asker, &part.room.room_id, &part.membership, &part.member_sender)
    });
    for (asker, rooms) in &mut out_of_band {
        rooms.retain(|room| is_wanted(*asker, &room.room_id, &room.membership, &room.sender));
    }
    News { probes: found, parts, out_of_band, ephemeral, data, ignored, device_lists }
}

fn device_lists(
    db: &Db<'_>,
    askers: &[&Asker],
    found: &[Probe],
    parts: &Parts,
    now: &SyncToken,
) -> Vec<DeviceLists> {
    let mut lists = vec![DeviceLists::default(); askers.len()];
    let (owners, intervals): (Vec<usize>, Vec<Interval<'_>>) = askers
        .iter()
        .enumerate()
        .filter_map(|(index, asker)| {
            let from = asker.since.as_ref()?;
            let Probe { key_changes, own_changes, .. } = found[index];
            let user_nid = asker.session.user_nid;
            Some((index, Interval { user_nid, from, to: now, key_changes, own_changes }))
        })
        .unzip();
    let with_news = parts.iter().filter(|(_, part)| part.room_new && part.is_joined());
    let news: BTreeSet<(usize, i64)> = with_news
        .filter_map(|((asker, room_nid), _)| Some((owners.binary_search(asker).ok()?, *room_nid)))
        .collect();
    for (owner, found) in owners.iter().zip(device_lists::between(db, &intervals, &news)) {
        lists[*owner] = found;
    }
    lists
}

impl News {
    /// New global account data.
    pub fn global_data(&self, asker: usize) -> &[Datum] {
        self.data.get(&(asker, GLOBAL)).map_or(&[], Vec::as_slice)
    }

    /// Out-of-band memberships that are news.
    pub fn out_of_band(&self, asker: usize) -> &[OutOfBand] {
        self.out_of_band.get(&asker).map_or(&[], Vec::as_slice)
    }

    /// The parts that have a timeline, with their askers.
    pub fn with_timeline(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.parts
            .iter()
            .filter(|(_, part)| part.is_joined() || part.is_left())
            .map(|((asker, _), part)| (*asker, part))
    }
}
