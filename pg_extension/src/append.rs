//! Appends local events: an event is made, authorized by the room's current state, signed and stored under
//! the room's lock.
//!
//! A refused event leaves nothing behind: everything is checked before the first write.

pub mod content;
mod duplicate_annotation;
mod local_event;
mod merge;
mod redaction;
mod refusal;
mod store;

use std::rc::Rc;

use matriarch_rules::{
    Event, EventBuilder, Map, RoomVersion, auth_types_for_event,
    build::{BuildError, BuiltEvent},
    check_state_dependent, check_state_independent,
    event::FormatError,
};

pub use self::local_event::{Appended, LocalEvent};
use self::{duplicate_annotation::Annotation, refusal::refusal, store::NewEvent};
use crate::{
    base::{
        ids::{now_ms, random_event_id},
        response::{MatrixError, Result},
        signing::Signer,
        users::User,
    },
    room::{Extremity, Room, StateEvent, annotations::Annotations, reference},
};

/// Appends an event. Returns the current state event instead if it has the same content and sender.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` for U+0000 in the type, the state key or the target, 400 `M_BAD_JSON` for what the
/// room version's event format does not allow, 413 `M_TOO_LARGE`, 403 `M_FORBIDDEN` if an authorization rule
/// rejects the event, 400 `M_DUPLICATE_ANNOTATION`, and the errors of redactions and threads. The room is
/// unchanged then.
pub fn append(room: &mut Room<'_>, local: LocalEvent<'_>) -> Result<Appended> {
    check_storable(&local)?;
    load_for(room, &local);
    room.check_target_known(local.event_type, local.state_key)?;
    if !room.header.is_crowded() {
        return Ok(Appended { event_id: append_next(room, local)?.0 });
    }
    // Other servers authorize the event by the state after the events that it cites, and by the current
    // state.
    authorize(room, &make(room, local.clone())?.0.event)?;
    let merge = merge::begin(room, keys_of(room, &local));
    let appended = append_next(room, local);
    merge::end(room, merge, appended.as_ref().ok().and_then(|(_, event_nid)| *event_nid));
    Ok(Appended { event_id: appended?.0 })
}

/// Makes and authorizes an event like [`append`], but does not append it.
pub fn prepare(room: &mut Room<'_>, local: LocalEvent<'_>) -> Result<BuiltEvent> {
    check_storable(&local)?;
    load_for(room, &local);
    room.check_target_known(local.event_type, local.state_key)?;
    let (built, _) = make(room, local)?;
    authorize(room, &built.event)?;
    Ok(built)
}

/// Returns the event's id, and its nid if the event is new.
fn append_next(room: &mut Room<'_>, local: LocalEvent<'_>) -> Result<(String, Option<i64>)> {
    let redacted =
        local.redacts.map(|target| redaction::target_of(room, local.sender, target)).transpose()?;
    let (sender, state_key, transaction) = (local.sender, local.state_key, local.transaction);
    let (built, auth_nids) = make(room, local)?;
    let BuiltEvent { event, canonical_json } = built;
    authorize(room, &event)?;

    if let Some(current) = state_key.and_then(|key| room.loaded_event(event.event_type(), key))
        && current.event.sender() == event.sender()
        && current.event.content() == event.content()
    {
        return Ok((current.event.event_id().to_owned(), None));
    }
    let annotation = Annotation::of(&event, sender);
    if let Some(annotation) = &annotation {
        annotation.refuse_duplicate(room)?;
    }
    let annotations = room.annotate(&event)?;
    room.check_policy(&event, transaction)?;
    let event = Rc::new(event);
    let event_nid = store::store_event(
        room,
        NewEvent { event: &event, canonical_json, sender, auth_nids, annotations, transaction },
    );
    if let Some(annotation) = annotation {
        annotation.note(room, event_nid);
    }
    if let Some(target) = redacted {
        room.redact(&target, event_nid);
    }
    Ok((event.event_id().to_owned(), Some(event_nid)))
}

/// Appends a create event, which [`make_create_event`] made before the room existed.
pub fn append_create(room: &mut Room<'_>, creator: &User, built: BuiltEvent) -> Result<()> {
    authorize(room, &built.event)?;
    let event = Rc::new(built.event);
    store::store_event(
        room,
        NewEvent {
            event: &event,
            canonical_json: built.canonical_json,
            sender: creator,
            auth_nids: Vec::new(),
            annotations: Annotations::default(),
            transaction: None,
        },
    );
    Ok(())
}

fn load_for(room: &mut Room<'_>, event: &LocalEvent<'_>) {
    let keys = keys_of(room, event);
    room.load(keys.iter().map(|(event_type, state_key)| (event_type.as_str(), state_key.as_str())));
}

/// The state keys of the events that authorize the event, and its own. [`append`] loads them; to load them
/// before, for several events, saves queries.
pub fn keys_of(room: &Room<'_>, event: &LocalEvent<'_>) -> Vec<(String, String)> {
    let LocalEvent { sender, event_type, state_key, content, .. } = event;
    let mut keys = auth_types_for_event(room.version, event_type, &sender.id, *state_key, content);
    // In room versions whose room id is made of the create event, no event cites it, but the rules need it.
    keys.push(("m.room.create".to_owned(), String::new()));
    keys.extend(state_key.map(|state_key| ((*event_type).to_owned(), state_key.to_owned())));
    keys
}

/// Makes and signs the event. Also returns the nids of its auth events.
fn make(room: &Room<'_>, local: LocalEvent<'_>) -> Result<(BuiltEvent, Vec<i64>)> {
    let LocalEvent { sender, event_type, state_key, content, redacts, .. } = local;
    let auth_events: Vec<&StateEvent> =
        auth_types_for_event(room.version, event_type, &sender.id, state_key, &content)
            .iter()
            .filter_map(|(event_type, state_key)| room.loaded_event(event_type, state_key))
            .collect();
    let auth_nids = auth_events.iter().map(|auth_event| auth_event.nid).collect();
    let builder = EventBuilder {
        room_id: Some(room.id.clone()),
        sender: sender.id.clone(),
        event_type: event_type.to_owned(),
        state_key: state_key.map(str::to_owned),
        content,
        redacts: redacts.map(str::to_owned),
        prev_events: room.header.cited().iter().map(Extremity::cite).collect(),
        auth_events: auth_events
            .iter()
            .map(|auth_event| reference(room.version, &auth_event.event))
            .collect(),
        depth: room.header.depth.saturating_add(1),
        origin_server_ts: now_ms(),
        unsigned: None,
        event_id: room.version.event_id_in_event().then(|| random_event_id(&room.signer.server_name)),
    };
    let built = builder.build(room.version, &room.signer.key).map_err(refuse_format)?;
    Ok((built, auth_nids))
}

/// Authorizes an event by the room's current state. The state keys that this needs must be loaded.
pub fn authorize(room: &Room<'_>, event: &Event) -> Result<()> {
    let fetch_state = |event_type: &str, state_key: &str| {
        room.loaded_event(event_type, state_key).map(|current| Rc::clone(&current.event))
    };
    let cited: Vec<&StateEvent> = auth_types_for_event(
        room.version,
        event.event_type(),
        event.sender(),
        event.state_key(),
        event.content(),
    )
    .iter()
    .filter_map(|(event_type, state_key)| room.loaded_event(event_type, state_key))
    // Not cited where the room's id is made of it, but needed.
    .chain(room.loaded_event("m.room.create", ""))
    .collect();
    let fetch = |event_id: &str| {
        let known = cited.iter().find(|known| known.event.event_id() == event_id)?;
        Some(Rc::clone(&known.event))
    };
    check_state_independent(room.version, event, fetch)
        .and_then(|()| check_state_dependent(room.version, event, fetch_state))
        .map_err(|rejection| refusal(event, &rejection))
}

/// Appends an event that the request does not depend on. If the room's policy server must sign it, it is
/// appended when that has happened: [`Room::answer`] has the API node ask for the signature.
pub fn append_once_signed(room: &mut Room<'_>, local: LocalEvent<'_>) -> Result<()> {
    match append(room, local) {
        Err(MatrixError { unsigned: Some(unsigned), .. }) => {
            room.unsigned.push(*unsigned);
            Ok(())
        }
        appended => appended.map(|_| ()),
    }
}

/// Makes the create event of a room. `room_id` is set in room versions whose room id is not made of the
/// event.
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

/// The error for an event whose format is wrong.
pub fn refuse_format(BuildError::Format(error): BuildError) -> MatrixError {
    match error {
        FormatError::TooLarge(_) | FormatError::TooLong(_) => {
            MatrixError::new(413, "M_TOO_LARGE", format!("The event is too large: {error}."))
        }
        _ => MatrixError::bad_json(format!("This cannot be an event: {error}.")),
    }
}
