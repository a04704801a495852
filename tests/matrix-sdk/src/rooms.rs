//! Who was in a room when a message was sent reads it, on each device; nobody else does.

use matrix_sdk::ruma::events::room::member::MembershipState;

use crate::{
    Nodes, Result,
    device::{Device, register},
};

pub async fn run([one, two]: &Nodes) -> Result<()> {
    let names = [register(one, "alice").await?, register(two, "bob").await?, register(one, "carol").await?];
    let alice = Device::login(one, &names[0]).await?;
    let bob = Device::login(two, &names[1]).await?;
    let carol = Device::login(one, &names[2]).await?;
    let alice2 = Device::login(two, &alice.user).await?;
    let bob2 = Device::login(one, &bob.user).await?;

    let room = alice.create_room(&[&bob]).await?;
    let first = alice.say(&room, "to all devices").await?;
    for device in [&alice, &alice2, &bob, &bob2] {
        device.reads(&room, &first, "to all devices").await?;
    }
    println!("each device of each member reads");

    alice.room(&room)?.invite_user_by_id(&carol.user).await?;
    carol.join(&room).await?;
    alice.sees(&room, MembershipState::Join, &carol).await?;
    let second = alice.say(&room, "welcome Carol").await?;
    for device in [&alice, &alice2, &bob, &bob2, &carol] {
        device.reads(&room, &second, "welcome Carol").await?;
    }
    carol.cannot_fetch(&room, &first).await?;
    carol.cannot_decrypt(&room, &first, &bob).await?;
    println!("who joins later reads what comes then");

    carol.room(&room)?.leave().await?;
    alice.sees(&room, MembershipState::Leave, &carol).await?;
    let third = alice.say(&room, "Carol is gone").await?;
    for device in [&alice, &alice2, &bob, &bob2] {
        device.reads(&room, &third, "Carol is gone").await?;
    }
    carol.cannot_fetch(&room, &third).await?;
    carol.cannot_decrypt(&room, &third, &bob).await?;
    println!("who left reads no more");

    let bob3 = Device::login(two, &bob.user).await?;
    alice.knows(&[&bob, &bob2, &bob3]).await?;
    let fourth = alice.say(&room, "to Bob's third device").await?;
    for device in [&alice, &alice2, &bob, &bob2, &bob3] {
        device.reads(&room, &fourth, "to Bob's third device").await?;
    }
    bob3.cannot_decrypt(&room, &third, &bob).await?;
    println!("a new device reads what comes then");
    Ok(())
}
