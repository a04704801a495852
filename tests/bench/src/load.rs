//! Several callers that call one after the other: how many calls a second, and what CPU time they cost the
//! server.

use std::{fs, time::Instant};

use futures_util::future::try_join_all;

use crate::{Bench, Result};

/// How many calls are made at once.
pub const CALLERS: usize = 8;

/// Clock ticks per second in /proc.
const TICKS: f64 = 100.0;

/// What was measured.
pub struct Load {
    /// Calls per second.
    pub rate: f64,
    /// Microseconds of CPU for each call, in the processes that served it.
    pub cpu: f64,
}

/// Calls until the time is up, or until `call` says that there is nothing left. It gets the number of the
/// caller, and of the call among all calls; `processes` are those whose CPU time counts.
pub async fn measure(
    bench: &Bench,
    processes: &[u32],
    call: impl AsyncFn(usize, usize) -> Result<bool>,
) -> Result<Load> {
    let before = cpu_us(processes)?;
    let started = Instant::now();
    let calls = (0..CALLERS).map(|caller| {
        let call = &call;
        async move {
            let mut count = 0;
            while started.elapsed() < bench.duration && call(caller, count * CALLERS + caller).await? {
                count += 1;
            }
            Ok::<_, crate::Error>(count)
        }
    });
    let total = try_join_all(calls).await?.iter().sum::<usize>() as f64;
    let rate = total / started.elapsed().as_secs_f64();
    Ok(Load { rate, cpu: (cpu_us(processes)? - before) / total })
}

/// The CPU time that processes have used so far, in user mode and in the kernel, in microseconds.
fn cpu_us(processes: &[u32]) -> Result<f64> {
    let mut ticks = 0.0;
    for process in processes {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name, in parentheses, may hold anything; both times are fields 12 and 13 after it.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        for time in fields.split_whitespace().skip(11).take(2) {
            ticks += time.parse::<f64>()?;
        }
    }
    Ok(ticks / TICKS * 1e6)
}
