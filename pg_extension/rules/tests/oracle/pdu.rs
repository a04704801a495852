//! Our events in the form that `ruma-state-res` takes.

use std::time::{Duration, UNIX_EPOCH};

use matriarch_rules::Event;
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde_json::value::{RawValue, to_raw_value};

/// An event in the form that ruma takes.
#[derive(Clone, Debug)]
pub struct Pdu {
    event_id: OwnedEventId,
    room_id: Option<OwnedRoomId>,
    pub sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    pub event_type: TimelineEventType,
    state_key: Option<String>,
    pub content: Box<RawValue>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    pub rejected: bool,
}

impl Pdu {
    pub fn new(event: &Event) -> Self {
        let ids =
            |ids: &mut dyn Iterator<Item = &str>| ids.map(|id| OwnedEventId::try_from(id).unwrap()).collect();
        let since_epoch = Duration::from_millis(event.origin_server_ts().try_into().unwrap());
        Self {
            event_id: event.event_id().try_into().unwrap(),
            room_id: event.json().get("room_id").map(|room_id| room_id.as_str().unwrap().try_into().unwrap()),
            sender: event.sender().try_into().unwrap(),
            origin_server_ts: MilliSecondsSinceUnixEpoch::from_system_time(UNIX_EPOCH + since_epoch).unwrap(),
            event_type: event.event_type().into(),
            state_key: event.state_key().map(str::to_owned),
            content: to_raw_value(event.content()).unwrap(),
            prev_events: ids(&mut event.prev_events()),
            auth_events: ids(&mut event.auth_events()),
            rejected: event.rejected(),
        }
    }

    pub fn id(&self) -> OwnedEventId {
        self.event_id.clone()
    }
}

impl ruma_state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
