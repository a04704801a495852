//! Appending: a local event is made, judged by the room's current state, signed and stored, under the room's lock.
//!
//! A refused event leaves nothing behind: everything is checked before the first write.

pub mod content;
mod merge;
pub(crate) mod redaction;
mod store;

use std::{
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use matriarch_rules::{
    Event, EventBuilder, Map, RoomVersion, auth_types_for_event,
    build::{BuildError, BuiltEvent},
    check_state_dependent, check_state_independent,
    event::{FormatError, format::MAX_PREV_EVENTS},
};
use rand::{Rng, distributions::Alphanumeric};

use self::store::NewEvent;
use crate::{
    base::{
        response::{MatrixError, Result},
        signing::Signer,
        users::User,
    },
    room::{Room, StateEvent, annotations::Annotations, reference},
};

/// An event of this server, before it is made.
#[derive(Debug, Clone)]
pub struct LocalEvent<'e> {
    pub sender: &'e User,
    pub event_type: &'e str,
    /// Present for state events.
    pub state_key: Option<&'e str>,
    pub content: Map,
    /// The target of an `m.room.redaction`.
    pub redacts: Option<&'e str>,
    /// The device's nid and its transaction id, which make sending idempotent.
    pub transaction: Option<(i64, &'e str)>,
}

impl<'e> LocalEvent<'e> {
    /// A state event.
    pub fn state(sender: &'e User, event_type: &'e str, state_key: &'e str, content: Map) -> Self {
        Self { sender, event_type, state_key: Some(state_key), content, redacts: None, transaction: None }
    }
}

/// An event of the room.
#[derive(Debug, Clone)]
pub struct Appended {
    pub event_id: String,
}

impl Room<'_> {
    /// Appends an event, or returns the current state event if it says the same and has the same sender.
    ///
    /// # Errors
    ///
    /// 400 `M_INVALID_PARAM` for U+0000 in type or state key, 400 `M_BAD_JSON` for what the room version's event format
    /// does not allow, 413 `M_TOO_LARGE`, 403 `M_FORBIDDEN` with the authorization rule that rejects it, and what is
    /// specific to redactions and threads. The room is then as it was before.
    pub fn append(&mut self, local: LocalEvent<'_>) -> Result<Appended> {
        check_storable(&local)?;
        self.load_for(&local);
        self.check_target_known(&local)?;
        if self.header.extremities.len() <= MAX_PREV_EVENTS {
            return Ok(Appended { event_id: self.append_next(local)?.0 });
        }
        // What servers will judge it by is the state after the events that it can cite, and the current state.
        self.authorize(&self.make(local.clone())?.0.event)?;
        let merge = self.begin_merge(self.keys_of(&local));
        let appended = self.append_next(local);
        self.end_merge(merge, appended.as_ref().ok().and_then(|(_, event_nid)| *event_nid));
        Ok(Appended { event_id: appended?.0 })
    }

    /// Makes an event and judges it, as [`Room::append`] does, but does not append it.
    pub fn prepare(&mut self, local: LocalEvent<'_>) -> Result<BuiltEvent> {
        check_storable(&local)?;
        self.load_for(&local);
        self.check_target_known(&local)?;
        let (built, _) = self.make(local)?;
        self.authorize(&built.event)?;
        Ok(built)
    }

    /// The event's id, and its nid if it is a new one.
    fn append_next(&mut self, local: LocalEvent<'_>) -> Result<(String, Option<i64>)> {
        let redacted = local.redacts.map(|target| self.redaction_target(local.sender, target)).transpose()?;
        let (sender, state_key, transaction) = (local.sender, local.state_key, local.transaction);
        let (built, auth_nids) = self.make(local)?;
        let BuiltEvent { event, canonical_json } = built;
        self.authorize(&event)?;

        if let Some(current) =
            state_key.and_then(|key| self.loaded(event.event_type(), key)?.current.as_ref())
            && current.event.sender() == event.sender()
            && current.event.content() == event.content()
        {
            return Ok((current.event.event_id().to_owned(), None));
        }
        let annotations = self.annotate(&event)?;
        self.check_policy(&event, transaction)?;
        let event = Rc::new(event);
        let event_nid = self.store_event(NewEvent {
            event: &event,
            canonical_json,
            sender,
            auth_nids,
            annotations,
            transaction,
        });
        if let Some(target) = redacted {
            self.redact(&target, event_nid);
        }
        Ok((event.event_id().to_owned(), Some(event_nid)))
    }

    /// Appends a create event that was made before its room, by [`make_create_event`].
    pub fn append_create(&mut self, creator: &User, built: BuiltEvent) -> Result<()> {
        self.authorize(&built.event)?;
        let event = Rc::new(built.event);
        self.store_event(NewEvent {
            event: &event,
            canonical_json: built.canonical_json,
            sender: creator,
            auth_nids: Vec::new(),
            annotations: Annotations::default(),
            transaction: None,
        });
        Ok(())
    }

    fn load_for(&mut self, event: &LocalEvent<'_>) {
        let keys = self.keys_of(event);
        self.load(keys.iter().map(|(event_type, state_key)| (event_type.as_str(), state_key.as_str())));
    }

    /// The state that authorizes the event and the state that it replaces. [`Room::append`] reads it for its own event;
    /// reading it before, for several events, saves queries.
    pub fn keys_of(&self, event: &LocalEvent<'_>) -> Vec<(String, String)> {
        let LocalEvent { sender, event_type, state_key, content, .. } = event;
        let mut keys = auth_types_for_event(self.version, event_type, &sender.id, *state_key, content);
        // Where the room's id stands for the create event, no event cites it, but the rules ask for it.
        keys.push(("m.room.create".to_owned(), String::new()));
        keys.extend(state_key.map(|state_key| ((*event_type).to_owned(), state_key.to_owned())));
        keys
    }

    /// Makes and signs the event; returns its auth events' nids too.
    fn make(&self, local: LocalEvent<'_>) -> Result<(BuiltEvent, Vec<i64>)> {
        let LocalEvent { sender, event_type, state_key, content, redacts, .. } = local;
        let auth_events: Vec<&StateEvent> =
            auth_types_for_event(self.version, event_type, &sender.id, state_key, &content)
                .iter()
                .filter_map(|(event_type, state_key)| self.loaded(event_type, state_key)?.current.as_ref())
                .collect();
        let auth_nids = auth_events.iter().map(|auth_event| auth_event.nid).collect();
        let builder = EventBuilder {
            room_id: Some(self.id.clone()),
            sender: sender.id.clone(),
            event_type: event_type.to_owned(),
            state_key: state_key.map(str::to_owned),
            content,
            redacts: redacts.map(str::to_owned),
            prev_events: self.header.cited().iter().map(|extremity| extremity.reference.clone()).collect(),
            auth_events: auth_events
                .iter()
                .map(|auth_event| reference(self.version, &auth_event.event))
                .collect(),
            depth: self.header.depth.saturating_add(1),
            origin_server_ts: now_ms(),
            unsigned: None,
            event_id: self.version.event_id_in_event().then(|| random_event_id(&self.signer.server_name)),
        };
        let built = builder.build(self.version, &self.signer.key).map_err(refuse_format)?;
        Ok((built, auth_nids))
    }

    /// Judges an event by the authorization rules at the room's current state, which must have been loaded for it.
    pub(crate) fn authorize(&self, event: &Event) -> Result<()> {
        let fetch_state = |event_type: &str, state_key: &str| {
            self.loaded(event_type, state_key)?.current.as_ref().map(|current| Rc::clone(&current.event))
        };
        let fetch = |event_id: &str| {
            self.loaded_events()
                .find(|known| known.event.event_id() == event_id)
                .map(|known| Rc::clone(&known.event))
        };
        check_state_independent(self.version, event, fetch)
            .and_then(|()| check_state_dependent(self.version, event, fetch_state))
            .map_err(|rejection| MatrixError::forbidden(rejection.to_string()))
    }
}

/// Makes the create event of a room; `room_id` only where it is not made of this event's id.
pub fn make_create_event(
    version: &RoomVersion,
    signer: &Signer,
    creator: &User,
    room_id: Option<String>,
    content: Map,
    origin_server_ts: i64,
) -> Result<BuiltEvent> {
    let builder = EventBuilder {
        room_id,
        sender: creator.id.clone(),
        event_type: "m.room.create".to_owned(),
        state_key: Some(String::new()),
        content,
        depth: 1,
        origin_server_ts,
        event_id: version.event_id_in_event().then(|| random_event_id(&signer.server_name)),
        ..EventBuilder::default()
    };
    builder.build(version, &signer.key).map_err(refuse_format)
}

fn check_storable(event: &LocalEvent<'_>) -> Result<()> {
    let has_nul = |text: Option<&str>| text.is_some_and(|text| text.contains('\0'));
    if has_nul(Some(event.event_type)) || has_nul(event.state_key) || has_nul(event.redacts) {
        return Err(MatrixError::invalid_param(
            "An event's type, state key or target cannot contain U+0000.",
        ));
    }
    Ok(())
}

/// The answer to an event whose format is wrong.
pub(crate) fn refuse_format(BuildError::Format(error): BuildError) -> MatrixError {
    match error {
        FormatError::TooLarge(_) | FormatError::TooLong(_) => {
            MatrixError::new(413, "M_TOO_LARGE", format!("The event is too large: {error}."))
        }
        _ => MatrixError::bad_json(format!("This cannot be an event: {error}.")),
    }
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// An event id for room versions in which the server chooses it.
pub(crate) fn random_event_id(server_name: &str) -> String {
    format!("${}:{server_name}", random_letters(18))
}

/// Random letters and digits: 5.95 bits each.
pub(crate) fn random_letters(count: usize) -> String {
    rand::thread_rng().sample_iter(Alphanumeric).take(count).map(char::from).collect()
}
