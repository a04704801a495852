//! Canonical JSON of any text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use matriarch_rules::{canonical_json, json};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(value) = json::parse_value(text) else { return };
    assert_eq!(
        serde_json::from_str::<Value>(text).ok().as_ref(),
        Some(&value),
        "what is read is what JSON says"
    );
    let canonical = canonical_json::to_canonical_lenient(&value);
    let again = json::parse_value(&canonical);
    // Lenient encoding writes a float in the one form that it would write again.
    assert_eq!(again.as_ref().map(canonical_json::to_canonical_lenient), Ok(canonical.clone()));
    if let Ok(strict) = canonical_json::to_canonical(&value) {
        assert_eq!(strict, canonical);
        assert_eq!(again.as_ref(), Ok(&value), "canonical JSON says the same");
        // serde_json writes without spaces, escapes no more than it must, and sorts keys.
        assert_eq!(value.to_string(), canonical);
    }
});
