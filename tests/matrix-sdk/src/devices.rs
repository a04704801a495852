//! Devices: what the others see of them, and what becomes of one that is deleted.

use matrix_sdk::ruma::api::error::ErrorKind;

use crate::{
    Nodes, Result,
    device::{Device, register, until},
};

pub async fn run([one, two]: &Nodes) -> Result<()> {
    let names = [register(one, "alice").await?, register(two, "bob").await?];
    let alice = Device::login(one, &names[0]).await?;
    let bob = Device::login(two, &names[1]).await?;
    let bob2 = Device::login(one, &bob.user).await?;
    let mut bob3 = Device::login(two, &bob.user).await?;
    let room = alice.create_room(&[&bob]).await?;

    let mut listed: Vec<_> =
        bob.client.devices().await?.devices.into_iter().map(|device| device.device_id).collect();
    let mut wanted = vec![bob.id.clone(), bob2.id.clone(), bob3.id.clone()];
    listed.sort();
    wanted.sort();
    assert_eq!(listed, wanted);
    let first = alice.say(&room, "to three devices").await?;
    for device in [&bob, &bob2, &bob3] {
        device.reads(&room, &first, "to three devices").await?;
    }
    println!("a user's devices are listed, and read");

    bob.client.rename_device(&bob2.id, "Bob's telephone").await?;
    until("Alice knows the name", async || {
        let device = alice.client.encryption().get_device(&bob.user, &bob2.id).await?;
        Ok(device.is_some_and(|device| device.display_name() == Some("Bob's telephone")))
    })
    .await?;
    println!("a new name is heard of by who shares a room");

    let deleted = [bob3.id.clone()];
    let Err(error) = bob.client.delete_devices(&deleted, None).await else {
        return Err("a device is deleted without the password".into());
    };
    let session = error.as_uiaa_response().ok_or(error.to_string())?.session.clone();
    bob.client.delete_devices(&deleted, Some(bob.password(session))).await?;
    let error = bob3.refused().await?;
    assert!(matches!(error.client_api_error_kind(), Some(ErrorKind::UnknownToken(_))), "{error}");
    alice.knows(&[&bob, &bob2]).await?;
    bob2.knows(&[&bob, &bob2]).await?;
    println!("a device is deleted with the password only, and is logged out");

    let second = alice.say(&room, "to two devices").await?;
    for device in [&bob, &bob2] {
        device.reads(&room, &second, "to two devices").await?;
    }
    bob3.cannot_decrypt(&room, &second, &bob).await?;
    println!("a deleted device gets no more keys");
    Ok(())
}
