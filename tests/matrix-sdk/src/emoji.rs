//! Verification by comparing emoji.

use std::time::Duration;

use matrix_sdk::{
    encryption::verification::{
        SasVerification, Verification, VerificationRequest, VerificationRequestState,
    },
    ruma::{UserId, events::key::verification::VerificationMethod},
};
use tokio::time::sleep;

use crate::{
    Result,
    device::{Device, eventually, until},
};

const CONSIDERING: Duration = Duration::from_millis(300);

/// Has one device request to verify the user of another: the user's devices or, for the own user, the other
/// devices.
pub async fn request(asking: &Device, of: &Device) -> Result<VerificationRequest> {
    let identity = asking.client.encryption().request_user_identity(&of.user).await?;
    let identity = identity.ok_or_else(|| format!("{} has no identity", of.user))?;
    Ok(identity.request_verification_with_methods(methods()).await?)
}

/// Verifies with a request that one device made: both users see the same emoji, and say so.
pub async fn compare(asked: &Device, by: &UserId, request: VerificationRequest) -> Result<()> {
    let incoming = eventually("a request arrives", async || {
        Ok(asked.client.encryption().get_verification_request(by, request.flow_id()).await)
    })
    .await?;
    incoming.accept_with_methods(methods()).await?;
    until("the request is accepted", async || Ok(request.is_ready())).await?;
    let ours = request.start_sas().await?.ok_or("no SAS")?;
    let theirs = eventually("the verification is begun", async || Ok(begun(&incoming))).await?;
    theirs.accept().await?;

    let (here, there) = (emoji(&ours).await?, emoji(&theirs).await?);
    assert_eq!(here, there);
    ours.confirm().await?;
    // Who confirms just when the other's `mac` arrives sends `mac` and `done` at once, and they may change
    // places.
    sleep(CONSIDERING).await;
    theirs.confirm().await?;
    until("the verification is done", async || {
        let canceled = ours.cancel_info().or_else(|| theirs.cancel_info());
        canceled.map_or(Ok(ours.is_done() && theirs.is_done()), |info| Err(info.reason().into()))
    })
    .await
}

/// What both sides can do.
fn methods() -> Vec<VerificationMethod> {
    vec![VerificationMethod::SasV1]
}

/// The verification that a request has become.
fn begun(request: &VerificationRequest) -> Option<SasVerification> {
    match request.state() {
        VerificationRequestState::Transitioned { verification: Verification::SasV1(sas) } => Some(sas),
        _ => None,
    }
}

/// The names of the emoji that are shown.
async fn emoji(sas: &SasVerification) -> Result<Vec<&'static str>> {
    eventually("emoji are shown", async || {
        Ok(sas.emoji().map(|emoji| emoji.iter().map(|one| one.description).collect()))
    })
    .await
}
