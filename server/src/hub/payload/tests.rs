use super::{MAX_BYTES, decode, encode};
use crate::hub::topic::Topic;

#[test]
fn topics_come_back() {
    let topics = vec![Topic::Room(1), Topic::Room(i64::MAX), Topic::User(7)];
    let payloads = encode("node", topics.clone());
    assert_eq!(payloads, ["node r1 r9223372036854775807 u7"]);
    assert_eq!(decode(&payloads[0]), ("node", topics));
}

#[test]
fn many_topics_are_split_and_none_is_lost() {
    let topics: Vec<_> = (0..5_000).map(|nid| Topic::Room(nid * 1_000_003)).collect();
    let payloads = encode("node", topics.clone());
    assert!(payloads.len() > 1);
    assert!(payloads.iter().all(|payload| payload.len() <= MAX_BYTES));
    let decoded: Vec<_> = payloads.iter().flat_map(|payload| decode(payload).1).collect();
    assert_eq!(decoded, topics);
}

#[test]
fn no_topics_make_no_payload() {
    assert!(encode("node", []).is_empty());
}

#[test]
fn strange_words_are_passed_over() {
    assert_eq!(decode("n x1 r u-2 ré r3"), ("n", vec![Topic::User(-2), Topic::Room(3)]));
    assert_eq!(decode(""), ("", vec![]));
}
