//! Has rooms show profiles that were changed, of users who are in many. Each statement locks a few rooms, so
//! that nobody waits long for one of them.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use super::base::Federation;
use crate::database::call;

const SHOW: &str = call!("matriarch.show_profiles()");

/// How often to look for profiles whose node ended before all rooms showed them.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Shown {
    more: bool,
}

/// Shows changed profiles in all rooms. The database logs a failure; [`run`] tries again.
pub async fn show_all(federation: &Federation) {
    while let Ok(answer) = federation.call(SHOW, &[]).await {
        if !answer.read::<Shown>().is_ok_and(|shown| shown.more) {
            return;
        }
    }
}

/// Shows the changed profiles that are left, for as long as the node runs.
pub async fn run(federation: Federation) {
    loop {
        sleep(INTERVAL.mul_f64(0.5 + rand::random::<f64>())).await;
        show_all(&federation).await;
    }
}
