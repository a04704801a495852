//! The definitions of the specification, implemented literally over whole auth chains.

use std::collections::BTreeSet;

use matriarch_rules::state_resolution::EventNid;

/// A set of events as bits: rooms here have 128 events at most.
pub type Bits = u128;

pub fn bit(nid: EventNid) -> Bits {
    1 << nid
}

pub fn events(mut bits: Bits) -> BTreeSet<EventNid> {
    let mut events = BTreeSet::new();
    while bits != 0 {
        events.insert(EventNid::from(bits.trailing_zeros()));
        bits &= bits - 1;
    }
    events
}

/// The auth chain of an event with these auth events, from the chains of older events.
pub fn auth_chain(auth_events: &[EventNid], chains: &[Bits]) -> Bits {
    auth_events.iter().fold(0, |chain, nid| chain | bit(*nid) | chains[*nid as usize])
}

/// The full auth chain of a state set.
pub fn full_auth_chain(set: impl IntoIterator<Item = EventNid>, chains: &[Bits]) -> Bits {
    set.into_iter().fold(0, |full, nid| full | chains[nid as usize])
}

/// "The auth difference is ∪ *Ci* − ∩ *Ci*."
pub fn auth_difference(full_auth_chains: &[Bits]) -> Bits {
    let union = full_auth_chains.iter().fold(0, |all, chain| all | chain);
    let intersection = full_auth_chains.iter().fold(Bits::MAX, |all, chain| all & chain);
    union & !intersection
}

/// The union of all paths of auth events between pairs of conflicted events.
pub fn conflicted_subgraph(conflicted: &BTreeSet<EventNid>, chains: &[Bits]) -> Bits {
    let mut subgraph = 0;
    for from in conflicted {
        for to in conflicted.iter().filter(|to| chains[*from as usize] & bit(**to) != 0) {
            subgraph |= bit(*from) | bit(*to);
            for between in events(chains[*from as usize]) {
                if chains[between as usize] & bit(*to) != 0 {
                    subgraph |= bit(between);
                }
            }
        }
    }
    subgraph
}
