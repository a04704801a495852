use super::{MAX_IN_PROGRESS, SyncToken, pagination_token, position};

fn token(text: &str) -> SyncToken {
    SyncToken::read(text).unwrap_or_else(|| panic!("{text} is a token"))
}

#[test]
fn snapshots_are_kept() {
    for snapshot in ["100:100:", "100:104:100,103"] {
        let token = SyncToken::from_snapshot(snapshot, "0123456789ab".to_owned());
        let token = token.unwrap_or_else(|| panic!("{snapshot} is a snapshot"));
        assert_eq!(token.snapshot(), snapshot);
        assert_eq!(SyncToken::read(&token.to_string()), Some(token));
    }
    assert_eq!(SyncToken::from_snapshot("100:x:", String::new()), None);
    assert_eq!(SyncToken::from_snapshot("100", String::new()), None);
}

#[test]
fn tokens_are_written_relative_to_the_oldest_transaction() {
    let token = token("sab_100_4_0_3~7");
    assert_eq!((token.generation(), token.xmax(), token.message_id), ("ab", 104, Some(7)));
    assert_eq!(token.snapshot(), "100:104:100,103");
    assert_eq!(token.to_string(), "sab_100_4_0_3~7");
    assert_eq!(token.acknowledging(None).to_string(), "sab_100_4_0_3");
}

#[test]
fn a_token_sees_what_was_committed() {
    let token = token("sab_100_4_0_3");
    let seen: Vec<u64> = (98..106).filter(|xid| token.sees(*xid)).collect();
    assert_eq!(seen, [98, 99, 101, 102]);
}

#[test]
fn a_token_of_an_ended_generation_sees_nothing_later() {
    let token = token("sab_100_4_0_3");
    assert_eq!(token.clone().ended_at(102).snapshot(), "100:102:100");
    assert_eq!(token.clone().ended_at(50).snapshot(), "50:50:");
    assert_eq!(token.clone().ended_at(200), token);
}

#[test]
fn what_nobody_gave_out_is_no_token() {
    let forged = [
        "",
        "s",
        "sab",
        "sab_",
        "sab_100",
        "t100_1",
        "sab_0_1",
        "sab_100_1_1",
        "sab_100_4_3_0",
        "sab_100_4_3_3",
        "sab_100_-1",
        "sab_0100_1",
        "sab_100_1~",
        "sab_100_1~x",
        "sab_100_1~9223372036854775808",
        "sab_18446744073709551615_1",
        "sab_100_4_18446744073709551615",
        "sab_100_1 ",
    ];
    for text in forged {
        assert_eq!(SyncToken::read(text), None, "{text}");
    }
    let list: String = (0..=MAX_IN_PROGRESS).map(|offset| format!("_{offset}")).collect();
    assert_eq!(SyncToken::read(&format!("sab_100_{}{list}", MAX_IN_PROGRESS + 2)), None);
}

#[test]
fn positions_are_read_as_they_are_written() {
    for pos in [0, 1, -1, i64::MAX, i64::MIN] {
        assert_eq!(position(&pagination_token(pos)), Some(pos));
    }
    for text in ["", "t", "t-", "t+1", "t01", "t1x", "s1", "t9223372036854775808", "t--1", "t 1"] {
        assert_eq!(position(text), None, "{text}");
    }
}
