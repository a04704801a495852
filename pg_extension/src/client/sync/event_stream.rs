//! The deprecated event stream, `GET /events`: the news of a sync as a list of events.

use matriarch_rules::{json_text::Object, sync_token::SyncToken};

use super::{
    Asker, body::ephemeral_events, fill, news, out_of_band_memberships::OutOfBand, parts::Columns, presence,
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
        for mut event in ephemeral_events(&section, asker) {
            // Removes the closing brace to add a key.
            event.pop();
            let mut object = Object::reopen(&mut event);
            object.value("room_id", room_id);
            object.close();
            texts.push(event);
        }
    }
    for part in news.parts.values().filter(|part| part.membership == "invite") {
        let renderer = Renderer::new(db, events, Some(&part.room.room_id));
        texts.push(renderer.state_event(&events.get(part.member_event_nid), style));
    }
    texts.extend(
        news.out_of_band(0).iter().filter(|room| room.membership != "knock").filter_map(OutOfBand::event),
    );
    texts.extend(presence::news(db, &askers, &columns, &news).concat());
    texts
}
