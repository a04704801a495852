//! Key backup and secret storage: what a fresh device gets back with nothing but the recovery key.

use matrix_sdk::encryption::recovery::RecoveryState;

use crate::{
    Nodes, Result,
    device::{Device, register},
};

pub async fn run([one, two]: &Nodes) -> Result<()> {
    let names = [register(one, "alice").await?, register(two, "bob").await?];
    let mut alice = Device::login(one, &names[0]).await?;
    let bob = Device::login(two, &names[1]).await?;
    let room = alice.create_room(&[&bob]).await?;
    let mut secrets = Vec::new();
    for number in 0..5 {
        let body = format!("secret {number}");
        let event = bob.say(&room, &body).await?;
        alice.reads(&room, &event, &body).await?;
        bob.room(&room)?.discard_room_key().await?;
        secrets.push((event, body));
    }

    alice.client.encryption().bootstrap_cross_signing(None).await?;
    let key = alice.client.encryption().recovery().enable().wait_for_backups_to_upload().await?;
    assert_eq!(alice.client.encryption().recovery().state(), RecoveryState::Enabled);
    assert!(alice.client.encryption().backups().fetch_exists_on_server().await?);
    alice.pause().await;
    alice.client.matrix_auth().logout().await?;
    println!("secrets and room keys are stored");

    let fresh = Device::login(two, &alice.user).await?;
    for (event, _) in &secrets {
        fresh.cannot_decrypt(&room, event, &bob).await?;
    }
    let wrong = bob.client.encryption().recovery().enable().await?;
    assert!(fresh.client.encryption().recovery().recover(&wrong).await.is_err());
    println!("another's recovery key opens nothing");

    fresh.client.encryption().recovery().recover(&key).await?;
    assert_eq!(fresh.client.encryption().recovery().state(), RecoveryState::Enabled);
    for (event, body) in &secrets {
        fresh.reads(&room, event, body).await?;
    }
    fresh.trusts(&fresh, true).await?;
    println!("a fresh device reads all with the recovery key, and is trusted");

    bob.knows(&[&fresh]).await?;
    let event = bob.say(&room, "one more").await?;
    fresh.reads(&room, &event, "one more").await?;
    fresh.client.encryption().backups().wait_for_steady_state().await?;
    let another = Device::login(one, &alice.user).await?;
    another.cannot_decrypt(&room, &event, &bob).await?;
    another.client.encryption().recovery().recover(&key).await?;
    another.reads(&room, &event, "one more").await?;
    println!("it goes on with the same backup");

    fresh.client.encryption().recovery().disable().await?;
    assert!(!fresh.client.encryption().backups().fetch_exists_on_server().await?);
    let last = Device::login(two, &alice.user).await?;
    assert!(last.client.encryption().recovery().recover(&key).await.is_err());
    println!("a backup that is deleted is gone");
    Ok(())
}
