use std::time::{Duration, Instant};

use super::{Buckets, Rate};

#[test]
fn a_bucket_has_a_burst_and_fills_up_again() {
    let buckets = Buckets::new(Rate { per_minute: 6, burst: 3 });
    let begin = Instant::now();
    let take = |key, seconds| buckets.take_at(&key, begin + Duration::from_secs(seconds));
    for _ in 0..3 {
        assert_eq!(take("a", 0), Ok(()));
    }
    assert_eq!(take("a", 0), Err(Duration::from_secs(10)));
    assert_eq!(take("b", 0), Ok(()));
    assert_eq!(take("a", 10), Ok(()));
    assert_eq!(take("a", 10), Err(Duration::from_secs(10)));
    for _ in 0..3 {
        assert_eq!(take("a", 3600), Ok(()));
    }
    assert!(take("a", 3600).is_err());
}

#[test]
fn what_is_put_back_counts_again() {
    let buckets = Buckets::new(Rate { per_minute: 1, burst: 1 });
    for _ in 0..5 {
        assert_eq!(buckets.take(&"a"), Ok(()));
        buckets.put_back(&"a");
    }
    assert_eq!(buckets.take(&"a"), Ok(()));
    assert!(buckets.take(&"a").is_err());
}

#[test]
fn there_may_be_no_limit() {
    let buckets = Buckets::new(Rate { per_minute: 0, burst: 0 });
    for _ in 0..1000 {
        assert_eq!(buckets.take(&"a"), Ok(()));
    }
}
