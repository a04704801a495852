//! A user's device that syncs in the background, and waiting for what it comes to know.

use std::time::{Duration, Instant};

use matrix_sdk::{
    Client, Room,
    config::SyncSettings,
    encryption::{BackupDownloadStrategy, EncryptionSettings},
    ruma::{
        EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, TransactionId, UserId,
        api::client::{
            account::register,
            room::{create_room, get_room_event},
            uiaa,
        },
        events::{
            InitialStateEvent,
            room::{
                encryption::RoomEncryptionEventContent,
                history_visibility::{HistoryVisibility, RoomHistoryVisibilityEventContent},
                member::MembershipState,
                message::RoomMessageEventContent,
            },
        },
        serde::Raw,
    },
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::{Error, Result};

const PASSWORD: &str = "correct horse battery staple";
const TIMEOUT: Duration = Duration::from_secs(20);
/// Short: what the client itself wants to send may wait for the end of a sync.
const SYNC: Duration = Duration::from_secs(1);

/// One device of a user. All its keys are in memory.
pub struct Device {
    pub client: Client,
    pub user: OwnedUserId,
    pub id: OwnedDeviceId,
    syncing: Option<JoinHandle<matrix_sdk::Result<()>>>,
}

/// Asks again and again until there is an answer. `what` is waited for, in words.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < TIMEOUT {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        sleep(Duration::from_millis(30)).await;
    }
    Err(format!("not within {} s: {what}", TIMEOUT.as_secs()).into())
}

/// Waits until something is so.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    eventually(what, async || Ok(ask().await?.then_some(()))).await
}

/// Registers a user without a device.
pub async fn register(url: &str, prefix: &str) -> Result<OwnedUserId> {
    let client = Client::builder().homeserver_url(url).build().await?;
    let mut request = register::v3::Request::new();
    request.username = Some(format!("{prefix}-{}", TransactionId::new().as_str().to_lowercase()));
    request.password = Some(PASSWORD.to_owned());
    request.inhibit_login = true;
    let Err(error) = client.send(request.clone()).await else {
        return Err("registered without any stage".into());
    };
    let mut dummy = uiaa::Dummy::new();
    dummy.session = error.as_uiaa_response().ok_or(error.to_string())?.session.clone();
    request.auth = Some(uiaa::AuthData::Dummy(dummy));
    Ok(client.send(request).await?.user_id)
}

impl Device {
    /// Logs a user in on a new device, which begins to sync.
    pub async fn login(url: &str, user: &UserId) -> Result<Self> {
        let settings = EncryptionSettings {
            auto_enable_cross_signing: false,
            backup_download_strategy: BackupDownloadStrategy::OneShot,
            auto_enable_backups: false,
        };
        let client = Client::builder().homeserver_url(url).with_encryption_settings(settings).build().await?;
        let answer = client.matrix_auth().login_username(user, PASSWORD).send().await?;
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        let mut device = Self { client, user: answer.user_id, id: answer.device_id, syncing: None };
        device.client.sync_once(SyncSettings::default()).await?;
        device.resume();
        Ok(device)
    }

    /// Goes on to sync.
    pub fn resume(&mut self) {
        let client = self.client.clone();
        let settings = SyncSettings::default().timeout(SYNC);
        self.syncing = Some(tokio::spawn(async move { client.sync(settings).await }));
    }

    /// Stops to sync, as when the device is out of reach.
    pub async fn pause(&mut self) {
        if let Some(syncing) = self.syncing.take() {
            syncing.abort();
            // Aborted, which is no failure.
            drop(syncing.await);
        }
    }

    /// Waits until the server refuses to sync, and gives the error.
    pub async fn refused(&mut self) -> Result<matrix_sdk::Error> {
        let syncing = self.syncing.take().ok_or("it does not sync")?;
        match tokio::time::timeout(TIMEOUT, syncing).await?? {
            Ok(()) => Err("the sync came to an end".into()),
            Err(error) => Ok(error),
        }
    }

    /// The answer to a server that asks for the password.
    pub fn password(&self, session: Option<String>) -> uiaa::AuthData {
        let user = uiaa::MatrixUserIdentifier::new(self.user.to_string());
        let mut password = uiaa::Password::new(uiaa::UserIdentifier::Matrix(user), PASSWORD.to_owned());
        password.session = session;
        uiaa::AuthData::Password(password)
    }

    /// Creates an encrypted room, and invites others.
    pub async fn create_room(&self, invited: &[&Device]) -> Result<OwnedRoomId> {
        let mut request = create_room::v3::Request::new();
        request.preset = Some(create_room::v3::RoomPreset::PrivateChat);
        request.is_direct = true;
        request.invite = invited.iter().map(|device| device.user.clone()).collect();
        let encryption = RoomEncryptionEventContent::with_recommended_defaults();
        let visibility = RoomHistoryVisibilityEventContent::new(HistoryVisibility::Joined);
        request.initial_state = vec![
            InitialStateEvent::with_empty_state_key(encryption).to_raw_any(),
            InitialStateEvent::with_empty_state_key(visibility).to_raw_any(),
        ];
        let room = self.client.create_room(request).await?.room_id().to_owned();
        for device in invited {
            device.join(&room).await?;
            self.sees(&room, MembershipState::Join, device).await?;
        }
        Ok(room)
    }

    /// Joins a room, and waits until this device has synced it.
    pub async fn join(&self, room: &RoomId) -> Result<()> {
        self.client.join_room_by_id(room).await?;
        self.sees(room, MembershipState::Join, self).await
    }

    /// A room that this device has heard of.
    pub fn room(&self, room: &RoomId) -> Result<Room> {
        self.client.get_room(room).ok_or_else(|| format!("{} does not know {room}", self.id).into())
    }

    /// Waits until this device sees another one's user with a membership.
    pub async fn sees(&self, room: &RoomId, wanted: MembershipState, other: &Device) -> Result<()> {
        until(&format!("{} sees {} with {wanted}", self.user, other.user), async || {
            let Some(room) = self.client.get_room(room) else { return Ok(false) };
            let member = room.get_member_no_sync(&other.user).await?;
            Ok(member.is_some_and(|member| *member.membership() == wanted))
        })
        .await
    }

    /// Waits until this device has heard that these are all devices of their user.
    pub async fn knows(&self, others: &[&Device]) -> Result<()> {
        let user = &others.first().ok_or("nobody to know")?.user;
        let mut wanted: Vec<_> = others.iter().map(|device| device.id.clone()).collect();
        wanted.sort();
        until(&format!("{} knows {wanted:?} of {user}", self.user), async || {
            let devices = self.client.encryption().get_user_devices(user).await?;
            let mut known: Vec<_> = devices.keys().map(ToOwned::to_owned).collect();
            known.sort();
            Ok(known == wanted)
        })
        .await
    }

    /// Waits until this device trusts another one to be its owner's, or no more.
    pub async fn trusts(&self, other: &Device, wanted: bool) -> Result<()> {
        until(&format!("{} trusts {}: {wanted}", self.id, other.id), async || {
            let device = self.client.encryption().get_device(&other.user, &other.id).await?;
            Ok(device.is_some_and(|device| device.is_verified_with_cross_signing() == wanted))
        })
        .await
    }

    /// Whether this device's user has verified another one's.
    pub async fn has_verified(&self, other: &Device) -> Result<bool> {
        let identity = self.client.encryption().get_user_identity(&other.user).await?;
        Ok(identity.is_some_and(|identity| identity.is_verified()))
    }

    /// Sends an encrypted message.
    pub async fn say(&self, room: &RoomId, body: &str) -> Result<OwnedEventId> {
        let content = RoomMessageEventContent::text_plain(body);
        let sent = self.room(room)?.send(content).await?;
        assert!(sent.encryption_info.is_some(), "{body} was sent in the clear");
        Ok(sent.response.event_id)
    }

    /// Waits until this device decrypts an event to this body.
    pub async fn reads(&self, room: &RoomId, event: &EventId, body: &str) -> Result<()> {
        let content = eventually(&format!("{} of {} reads {body:?}", self.id, self.user), async || {
            let event = self.room(room)?.event(event, None).await?;
            if event.kind.is_utd() {
                return Ok(None);
            }
            Ok(event.raw().get_field::<Value>("content")?)
        })
        .await?;
        assert_eq!(content["body"], body);
        Ok(())
    }

    /// Makes sure that the keys of this device do not decrypt an event that a reader of it hands over.
    pub async fn cannot_decrypt(&self, room: &RoomId, event: &EventId, reader: &Device) -> Result<()> {
        let request = get_room_event::v3::Request::new(room.to_owned(), event.to_owned());
        let raw: Raw<_> = reader.client.send(request).await?.event;
        assert_eq!(raw.get_field::<String>("type")?.as_deref(), Some("m.room.encrypted"));
        let event = self.room(room)?.decrypt_event(raw.cast_ref_unchecked(), None).await?;
        assert!(event.kind.is_utd(), "{} of {} decrypts {event:?}", self.id, self.user);
        Ok(())
    }

    /// Makes sure that the server does not hand out an event to this device.
    pub async fn cannot_fetch(&self, room: &RoomId, event: &EventId) -> Result<()> {
        let request = get_room_event::v3::Request::new(room.to_owned(), event.to_owned());
        let Err(error) = self.client.send(request).await else {
            return Err(format!("{} gets {event}", self.user).into());
        };
        let status = error.as_client_api_error().map(|error| error.status_code.as_u16());
        if status == Some(404) { Ok(()) } else { Err(Error::from(error)) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(syncing) = &self.syncing {
            syncing.abort();
        }
    }
}
