//! Spaces: rooms that list other rooms, and summaries of rooms for users who are not in them. Client-Server
//! API, "Spaces" and "Room summary".

mod child;
mod hierarchy;
mod local;
mod remote_rooms;
mod room_summary;
mod summary;

pub use self::{
    child::Child,
    local::{LocalRoom, LocalRooms},
    summary::Summary,
};
