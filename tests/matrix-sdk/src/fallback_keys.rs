//! What happens when a device that is out of reach has no one-time keys left.

use std::collections::{BTreeMap, BTreeSet};

use matrix_sdk::ruma::{OneTimeKeyAlgorithm, api::client::keys::claim_keys};

use crate::{
    Nodes, Result,
    device::{Device, register, until},
};

const AT_MOST: usize = 200;

pub async fn run([one, two]: &Nodes) -> Result<()> {
    let names = [register(one, "alice").await?, register(two, "bob").await?, register(one, "eve").await?];
    let alice = Device::login(one, &names[0]).await?;
    let mut bob = Device::login(two, &names[1]).await?;
    let eve = Device::login(one, &names[2]).await?;
    let room = alice.create_room(&[&bob]).await?;

    bob.pause().await;
    let mut claimed = BTreeSet::new();
    let fallback = loop {
        assert!(claimed.len() < AT_MOST, "there is no end to the one-time keys");
        let (id, fallback) = claim(&eve, &bob).await?;
        if fallback {
            break id;
        }
        assert!(claimed.insert(id), "a key is handed out twice");
    };
    assert_eq!(claim(&alice, &bob).await?, (fallback, true));
    println!("each key is handed out once, then the fallback key");

    let event = alice.say(&room, "are you there?").await?;
    bob.resume();
    bob.reads(&room, &event, "are you there?").await?;
    println!("a conversation begins with the fallback key");

    until("new keys are uploaded", async || {
        let (id, fallback) = claim(&eve, &bob).await?;
        // A fallback key may have the name of a one-time key.
        assert!(fallback || !claimed.contains(&id), "a key is handed out twice");
        Ok(!fallback)
    })
    .await?;
    let event = bob.say(&room, "here I am").await?;
    alice.reads(&room, &event, "here I am").await?;
    println!("a device that is back uploads new keys");
    Ok(())
}

/// Claims a key of a device: its id, and whether it is the fallback key.
async fn claim(by: &Device, of: &Device) -> Result<(String, bool)> {
    let wanted = BTreeMap::from([(of.id.clone(), OneTimeKeyAlgorithm::SignedCurve25519)]);
    let request = claim_keys::v3::Request::new(BTreeMap::from([(of.user.clone(), wanted)]));
    let answer = by.client.send(request).await?;
    let keys = answer.one_time_keys.get(&of.user).and_then(|devices| devices.get(&of.id));
    let (id, key) = keys.and_then(|keys| keys.first_key_value()).ok_or("no key was handed out")?;
    Ok((id.to_string(), key.get_field("fallback")?.unwrap_or(false)))
}
