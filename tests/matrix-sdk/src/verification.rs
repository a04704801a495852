//! Cross-signing, and verification by emoji between devices and between users.

use crate::{
    Nodes, Result,
    device::{Device, register, until},
    emoji,
};

pub async fn run([one, two]: &Nodes) -> Result<()> {
    let names = [register(one, "alice").await?, register(two, "bob").await?];
    let alice = Device::login(one, &names[0]).await?;
    let bob = Device::login(two, &names[1]).await?;
    let room = alice.create_room(&[&bob]).await?;

    for device in [&alice, &bob] {
        device.client.encryption().bootstrap_cross_signing(None).await?;
        device.trusts(device, true).await?;
    }
    println!("cross-signing is set up without a password, as there is nothing to replace");

    let alice2 = Device::login(two, &alice.user).await?;
    alice.knows(&[&alice, &alice2]).await?;
    alice.trusts(&alice2, false).await?;
    let request = emoji::request(&alice2, &alice).await?;
    emoji::compare(&alice, &alice.user, request).await?;
    for device in [&alice, &alice2] {
        device.trusts(&alice, true).await?;
        device.trusts(&alice2, true).await?;
    }
    until("the second device has the private keys", async || {
        let status = alice2.client.encryption().cross_signing_status().await;
        Ok(status.is_some_and(|status| status.is_complete()))
    })
    .await?;
    println!("a second device is verified, and gets the secrets");

    assert!(!alice.has_verified(&bob).await?);
    let request = emoji::request(&alice, &bob).await?;
    assert_eq!(request.room_id(), Some(&*room));
    emoji::compare(&bob, &alice.user, request).await?;
    until("Alice has verified Bob", async || alice.has_verified(&bob).await).await?;
    until("Bob has verified Alice", async || bob.has_verified(&alice).await).await?;
    until("Alice's second device knows", async || alice2.has_verified(&bob).await).await?;
    bob.trusts(&alice2, true).await?;
    println!("users verify each other, for all their devices");

    let reset = alice.client.encryption().reset_cross_signing().await?.ok_or("no password was asked for")?;
    let matrix_sdk::encryption::CrossSigningResetAuthType::Uiaa(info) = reset.auth_type() else {
        return Err("no password was asked for".into());
    };
    reset.auth(Some(alice.password(info.session.clone()))).await?;
    until("Bob sees that Alice is no more who she was", async || {
        let identity = bob.client.encryption().get_user_identity(&alice.user).await?;
        Ok(identity.is_some_and(|identity| identity.has_verification_violation()))
    })
    .await?;
    println!("cross-signing keys are replaced with the password, and all hear of it");
    Ok(())
}
