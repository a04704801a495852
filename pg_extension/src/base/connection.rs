//! The SPI connection of a call, by which what it writes is known to belong to its generation.

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

/// For writes that no other function of the extension makes, such as those of the API nodes' own statements.
#[pg_extern(volatile)]
fn record_generation() {
    connect(Mode::Write, |_| ());
}
