use super::{Full, Holder, Memory};

const MEBIBYTE: usize = 1024 * 1024;

fn network(number: u8) -> Holder {
    Holder::Network([192, 0, 2, number].into())
}

#[test]
fn nobody_takes_more_than_a_share() {
    let memory = Memory::new(64 * MEBIBYTE);
    let mut first = memory.reserve(network(1));
    let mut second = memory.reserve(network(1));
    assert_eq!(first.grow(10 * MEBIBYTE), Ok(()));
    assert_eq!(second.grow(7 * MEBIBYTE), Err(Full::Share));
    assert_eq!(second.grow(6 * MEBIBYTE), Ok(()));
    assert_eq!(memory.reserve(network(2)).grow(7 * MEBIBYTE), Ok(()));
    drop(first);
    assert_eq!(second.grow(16 * MEBIBYTE), Ok(()));
}

#[test]
fn a_server_that_was_asked_may_take_more() {
    let memory = Memory::new(64 * MEBIBYTE);
    let mut answer = memory.reserve(Holder::Server("a.example".to_owned()));
    assert_eq!(answer.grow(32 * MEBIBYTE), Ok(()));
    assert_eq!(answer.grow(33 * MEBIBYTE), Err(Full::Share));
}

#[test]
fn those_who_need_little_find_room_longer() {
    let memory = Memory::new(64 * MEBIBYTE);
    let mut held = Vec::new();
    for number in 1..=4 {
        let mut reservation = memory.reserve(network(number));
        let room = if number == 4 { 8 } else { 16 };
        assert_eq!(reservation.grow(room * MEBIBYTE), Ok(()), "{number}");
        held.push(reservation);
    }
    let mut little = memory.reserve(network(5));
    assert_eq!(memory.reserve(network(5)).grow(2 * MEBIBYTE), Err(Full::Budget));
    assert_eq!(little.grow(MEBIBYTE), Ok(()));
}

#[test]
fn all_is_given_back() {
    let memory = Memory::new(64 * MEBIBYTE);
    let mut reservation = memory.reserve(network(1));
    assert_eq!(reservation.grow(1000), Ok(()));
    assert_eq!(memory.total(), 0);
    assert_eq!(reservation.grow(5 * MEBIBYTE), Ok(()));
    assert_eq!(memory.total(), 5 * MEBIBYTE);
    reservation.release();
    assert_eq!(memory.total(), 0);
    drop(reservation);
    assert_eq!(memory.total(), 0);
    assert!(memory.taken.lock().by_holder.is_empty());
}
