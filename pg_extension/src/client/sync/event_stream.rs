//! The deprecated event stream, `GET /events`: the news of a sync as a list of events.

use matriarch_rules::{json_text::Object, sync_token::SyncToken};

use super::{
    Asker, account_data, body::ephemeral_events, ephemeral, fill, news, out_of_band_memberships::OutOfBand,
    parts::Columns, presence, probe::Probe,
};
use crate::{
    base::spi::Db,
    read::{
        render::{Renderer, Style},
        stored_event::Events,
    },
};

/// The events that are new to an asker, for the deprecated event stream. Events of rooms have a `room_id`.
pub fn new_events(db: &Db<'_>, events: &Events<'_, '_>, asker: &Asker, now: &SyncToken) -> Vec<String> {
    let askers = [asker];
    let columns = Columns::of(&askers);
    let news = news::find(db, &askers, &columns, now);
    let style = Style { device_nid: asker.session.device_nid, filter: None };
    let mut texts = Vec::new();
    for section in fill::sections(db, events, &askers, &news) {
        let (room_id, reader) = (&section.part.room.room_id, &section.reader);
        let delivered = &section.timeline.delivered;
        let renderer = Renderer::new(db, events, Some(room_id));
        renderer.prepare(&[(reader, delivered)]);
        texts.extend(delivered.iter().map(|event| renderer.event(event, reader, style)));
        let data = section.account_data.iter().map(account_data::event);
        texts.extend(
            ephemeral_events(&section, asker).into_iter().chain(data).map(|event| in_room(event, room_id)),
        );
    }
    for part in news.parts.values().filter(|part| part.membership == "invite") {
        let renderer = Renderer::new(db, events, Some(&part.room.room_id));
        texts.push(renderer.state_event(&events.get(part.member_event_nid), None, style));
    }
    texts.extend(
        news.out_of_band(0).iter().filter(|room| room.membership != "knock").filter_map(OutOfBand::event),
    );
    texts.extend(news.global_data(0).iter().map(account_data::event));
    texts.extend(presence::news(db, &askers, &columns, &news).concat());
    texts
}

const TYPING_CHANGED: &str = "
    select from typing where room_nid = $1 and not pg_visible_in_snapshot(xid, $2::pg_snapshot) limit 1";

/// The receipts and the typing users of one room, with its `room_id`, as far as they are new to the asker;
/// all of them without a token.
pub fn new_ephemeral_events(db: &Db<'_>, asker: &Asker, room_nid: i64, room_id: &str) -> Vec<String> {
    let (receipts, is_typing_new) = match &asker.since {
        Some(since) => {
            let columns = Columns::of(&[asker]);
            let probe = Probe { receipts: vec![room_nid], ..Probe::default() };
            let receipts = ephemeral::changed(db, &columns, &[probe]).receipts.remove(&(0, room_nid));
            let args = [room_nid.into(), since.snapshot().into()];
            (receipts, db.query_opt(TYPING_CHANGED, &args).is_some())
        }
        None => (ephemeral::all_receipts(db, vec![room_nid]).remove(&room_nid), false),
    };
    let typing = ephemeral::typing(db, vec![room_nid]).remove(&room_nid).unwrap_or_default();
    let typing = (is_typing_new || !typing.is_empty() && asker.since.is_none()).then_some(typing);
    let receipts = ephemeral::receipt_events(&receipts.unwrap_or_default(), asker.session.user_nid);
    let typing = typing.map(|users| ephemeral::typing_event(&users));
    typing.into_iter().chain(receipts).map(|event| in_room(event, room_id)).collect()
}

/// Adds the `room_id` to an event.
fn in_room(mut event: String, room_id: &str) -> String {
    // Removes the closing brace to add a key.
    event.pop();
    let mut object = Object::reopen(&mut event);
    object.value("room_id", room_id);
    object.close();
    event
}
