//! Reading rooms: events as readers see them, and which of them they may see.

pub mod filter;
pub mod gaps;
pub mod page;
pub mod readable_room;
pub mod render;
pub mod state_list;
pub mod stored_event;
pub mod timeline;
pub mod visibility;
