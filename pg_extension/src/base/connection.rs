//! The SPI connection of a call. It records the generation before the call writes anything.

use pgrx::pg_extern;

use crate::base::{
    generation,
    spi::{self, Db, Mode},
};

/// Runs `work` with an SPI connection. Results do not borrow from it: SPI's memory is freed with the
/// connection.
pub fn connect<R>(mode: Mode, work: impl FnOnce(&Db<'_>) -> R) -> R {
    spi::open(mode, |db| {
        if mode == Mode::Write {
            generation::record(db);
        }
        work(db)
    })
}

/// For triggers, whose statement may write without any other function of the extension.
#[pg_extern(volatile)]
fn record_generation() {
    connect(Mode::Write, |_| ());
}
