use reqwest::header::HeaderValue;

use super::*;

#[test]
fn lifetimes_follow_the_header_within_bounds() {
    let of = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
        lifetime(&headers).as_secs()
    };
    assert_eq!(lifetime(&HeaderMap::new()), DEFAULT_LIFETIME);
    assert_eq!(of("max-age=600"), 600);
    assert_eq!(of("public, Max-Age=7200"), 7200);
    assert_eq!(of("max-age=99999999"), 48 * 3600);
    assert_eq!(of("no-store"), 60);
    assert_eq!(of("max-age=nonsense"), 24 * 3600);
}
