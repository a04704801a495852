use super::PartialJoin;

fn partial_join(servers: &[&str]) -> PartialJoin {
    PartialJoin {
        join_event_id: "$join".to_owned(),
        room_id: "!room:a.example".to_owned(),
        room_version: "11".to_owned(),
        server_name: "joined-by".to_owned(),
        servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        attempts: 0,
    }
}

fn asked(servers: &[&str], attempts: std::ops::Range<usize>) -> Vec<String> {
    let mut join = partial_join(servers);
    let mut server = |attempts| {
        join.attempts = attempts;
        join.server().to_owned()
    };
    attempts.map(&mut server).collect()
}

#[test]
fn every_other_attempt_asks_the_server_that_the_join_was_made_by() {
    let servers = ["one", "joined-by", "two"];
    let expected = ["joined-by", "one", "joined-by", "two", "joined-by", "one", "joined-by"];
    assert_eq!(asked(&servers, 1..8), expected);
}

#[test]
fn where_there_are_no_others_it_is_always_asked() {
    assert_eq!(asked(&[], 1..5), ["joined-by"; 4]);
    assert_eq!(asked(&["joined-by"], 1..5), ["joined-by"; 4]);
}

#[test]
fn a_silent_server_is_left_for_another_after_a_minute_and_later_after_more() {
    let mut join = partial_join(&["one"]);
    let mut seconds = |attempts| {
        join.attempts = attempts;
        join.begin_timeout().as_secs()
    };
    assert_eq!([1, 2, 3, 5, 7, 9, 1000].map(&mut seconds), [60, 60, 120, 240, 480, 600, 600]);
}
