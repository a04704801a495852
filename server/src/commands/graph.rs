//! `matriarch graph`: a picture of the newest events of a room.

mod event;
mod layout;
mod picture;
mod svg;

use std::fs;
use std::path::Path;

use super::cli::GraphArguments;
use crate::base::failure::Failure;
use crate::database::Db;

use event::GraphEvent;

/// Stands for standard output.
const STANDARD_OUTPUT: &str = "-";

/// Draws the room that `arguments` names, by its id or an alias of this server.
pub async fn run(arguments: &GraphArguments, db: &Db) -> Result<(), Failure> {
    let room_id = find_room(&arguments.room, db).await?;
    let limit = i32::try_from(arguments.limit).unwrap_or(i32::MAX);
    let rows = db
        .query(include_str!("graph/room_graph.sql"), &[&room_id, &limit])
        .await
        .map_err(|error| Failure::plain(error.message))?;
    let events = rows.iter().map(GraphEvent::of).collect::<Result<Vec<_>, _>>();
    let events = events.map_err(|error| Failure::new("cannot read the graph", error))?;
    write(&arguments.svg, &picture::draw(&room_id, &events))
}

async fn find_room(room: &str, db: &Db) -> Result<String, Failure> {
    let unknown = || Failure::plain(format!("this server does not know the room {room:?}"));
    // The database could not be asked for U+0000.
    if room.contains('\0') {
        return Err(unknown());
    }
    let row = db
        .query_opt(include_str!("graph/find_room.sql"), &[&room])
        .await
        .map_err(|error| Failure::plain(error.message))?
        .ok_or_else(unknown)?;
    Ok(row.get("room_id"))
}

fn write(file: &Path, picture: &str) -> Result<(), Failure> {
    if file == Path::new(STANDARD_OUTPUT) {
        print!("{picture}");
        return Ok(());
    }
    fs::write(file, picture).map_err(|error| Failure::new(format!("cannot write {}", file.display()), error))
}
