//! [Spaces](https://spec.matrix.org/v1.19/client-server-api/#spaces): rooms that list other rooms as
//! children.

use std::cmp::Ordering;

use serde_json::Value;

use crate::Event;

/// The greatest length of the `order` of an `m.space.child` event, in characters.
const MAX_ORDER_CHARS: usize = 50;

/// Compares two `m.space.child` events of a space: children with a valid `order` come first, in that order;
/// then by `origin_server_ts`; then by the child's room id.
///
/// Spec: [Ordering of children within a space][ordering].
///
/// [ordering]: https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
pub fn compare_children(one: &Event, other: &Event) -> Ordering {
    // Comparing the options would put `None` first.
    match (order(one), order(other)) {
        (Some(one_order), Some(other_order)) => one_order.cmp(other_order),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
    .then_with(|| one.origin_server_ts().cmp(&other.origin_server_ts()))
    .then_with(|| one.state_key().cmp(&other.state_key()))
}

/// The child's `order` if it is valid: 1 to 50 characters from space to `~`. They are ASCII, so comparing
/// bytes compares code points.
fn order(child: &Event) -> Option<&str> {
    let order = child.content().get("order").and_then(Value::as_str)?;
    let valid =
        (1..=MAX_ORDER_CHARS).contains(&order.len()) && order.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    valid.then_some(order)
}

#[cfg(test)]
mod tests;
