//! Reading rooms: which events a reader may see, and how they are rendered.

pub mod erasures;
pub mod gaps;
pub mod page;
pub mod readable_room;
pub mod render;
pub mod state_list;
pub mod stored_event;
pub mod timeline;
pub mod visibility;
