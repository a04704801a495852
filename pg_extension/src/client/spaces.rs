//! Spaces: rooms that list other rooms, and summaries of rooms for users who are not in them. Client-Server
//! API, "Spaces" and "Room summary".

mod child;
mod elsewhere;
mod hierarchy;
mod local;
mod room_summary;
mod summary;

pub use self::{
    child::Child,
    local::{LocalRoom, LocalRooms},
    summary::Summary,
};
