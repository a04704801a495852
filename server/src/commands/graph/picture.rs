//! Draws the picture: the graph on the left, the columns of each event on the right.

mod mark;

use std::collections::HashMap;
use std::fmt::Display;

use super::event::{GraphEvent, Status};
use super::layout::{Edge, Layout, Place, Vertex, lay_out};
use super::svg::Svg;
use mark::Mark;

const STYLE: &str = include_str!("picture.css");
/// The colors of edges, by lane.
const COLORS: [&str; 6] = ["#4a6fa5", "#2a9d8f", "#8e6bb0", "#b5838d", "#5c7d3a", "#b08900"];

const ROW_HEIGHT: f64 = 26.0;
const LANE_WIDTH: f64 = 22.0;
const MARGIN: f64 = 16.0;
const HEADER_HEIGHT: f64 = 82.0;

/// The columns beside the graph: titles, widths and contents.
const COLUMNS: [(&str, f64); 6] = [
    ("event", 92.0),
    ("type", 190.0),
    ("state key", 180.0),
    ("sender", 180.0),
    ("sent (UTC)", 152.0),
    ("", 520.0),
];

/// What is drawn in a row.
enum Item<'a> {
    Event(&'a GraphEvent),
    /// Cited, and missing here.
    Missing(&'a str),
    /// Cited and stored, but older than the drawn events.
    Earlier(&'a str),
}

impl Item<'_> {
    fn event_id(&self) -> &str {
        match self {
            Self::Event(event) => &event.event_id,
            Self::Missing(event_id) | Self::Earlier(event_id) => event_id,
        }
    }
}

/// Draws the events of a room, in the given order, as an SVG document.
pub fn draw(room_id: &str, events: &[GraphEvent]) -> String {
    let (items, vertices) = items(events);
    let layout = lay_out(&vertices);
    Picture { svg: Svg::default(), items: &items, layout: &layout }.draw(room_id, events.len())
}

/// All rows and their edges: the events, and before each event the events that it cites and that are not
/// among them.
fn items(events: &[GraphEvent]) -> (Vec<Item<'_>>, Vec<Vertex>) {
    let shown: HashMap<&str, &GraphEvent> =
        events.iter().map(|event| (event.event_id.as_str(), event)).collect();
    let mut items = Vec::with_capacity(events.len());
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    for event in events {
        for prev in &event.prev_events {
            if !shown.contains_key(prev.as_str()) && !indexes.contains_key(prev.as_str()) {
                indexes.insert(prev, items.len());
                let is_missing = event.missing_prev_events.contains(prev);
                items.push(if is_missing { Item::Missing(prev) } else { Item::Earlier(prev) });
            }
        }
        indexes.insert(&event.event_id, items.len());
        items.push(Item::Event(event));
    }
    let vertices = items.iter().map(|item| match item {
        Item::Event(event) => {
            let mut prevs: Vec<usize> =
                event.prev_events.iter().filter_map(|prev| indexes.get(prev.as_str()).copied()).collect();
            prevs.sort_unstable();
            prevs.dedup();
            Vertex { prevs, is_main: event.status == Status::Accepted }
        }
        Item::Missing(_) => Vertex { prevs: Vec::new(), is_main: false },
        Item::Earlier(_) => Vertex { prevs: Vec::new(), is_main: true },
    });
    let vertices = vertices.collect();
    (items, vertices)
}

/// The marks of an item, drawn on top of each other.
fn marks(item: &Item<'_>) -> Vec<Mark> {
    let event = match item {
        Item::Missing(_) => return vec![Mark::Missing],
        Item::Earlier(_) => return vec![Mark::Earlier],
        Item::Event(event) => event,
    };
    let mark = match (event.status, &event.state_key) {
        (Status::Accepted, Some(_)) => Mark::State,
        (Status::Accepted, None) => Mark::Message,
        (Status::SoftFailed, _) => Mark::SoftFailed,
        (Status::Rejected, _) => Mark::Rejected,
    };
    if event.is_forward_extremity { vec![Mark::Extremity, mark] } else { vec![mark] }
}

struct Picture<'a> {
    svg: Svg,
    items: &'a [Item<'a>],
    layout: &'a Layout,
}

impl Picture<'_> {
    fn draw(mut self, room_id: &str, events: usize) -> String {
        let columns_at = MARGIN + self.layout.lanes.max(1) as f64 * LANE_WIDTH + 10.0;
        let width = columns_at + COLUMNS.iter().map(|(_, width)| width).sum::<f64>() + MARGIN;
        let height = HEADER_HEIGHT + self.items.len() as f64 * ROW_HEIGHT + MARGIN;
        let view = format!("0 0 {width} {height}");
        let root: [(&str, &dyn Display); 5] = [
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("width", &width),
            ("height", &height),
            ("viewBox", &view),
            ("font-family", &"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"),
        ];
        self.svg.open("svg", &root);
        self.svg.leaf("title", &[], &format!("Event graph of {room_id}"));
        self.svg.leaf("style", &[], STYLE);
        self.clip_columns(columns_at, height);
        self.svg.empty("rect", &[("class", &"paper"), ("width", &width), ("height", &height)]);
        self.header(room_id, events, columns_at);
        for row in (0..self.items.len()).step_by(2) {
            let y = y(row) - ROW_HEIGHT / 2.0;
            self.svg
                .empty("rect", &[("class", &"band"), ("y", &y), ("width", &width), ("height", &ROW_HEIGHT)]);
        }
        for edge in &self.layout.edges {
            self.edge(*edge);
        }
        for (index, item) in self.items.iter().enumerate() {
            self.svg.open("g", &[]);
            self.svg.leaf("title", &[], &description(item));
            // An area to hover over, as wide as the row.
            let place = self.layout.places[index];
            let top = y(place.row) - ROW_HEIGHT / 2.0;
            self.svg
                .empty("rect", &[("class", &"row"), ("y", &top), ("width", &width), ("height", &ROW_HEIGHT)]);
            for mark in marks(item) {
                mark.draw(&mut self.svg, x(place.lane), y(place.row));
            }
            self.label(item, place, columns_at);
            self.svg.close();
        }
        self.svg.finish()
    }

    /// Clips texts, so that none reaches into the next column.
    fn clip_columns(&mut self, columns_at: f64, height: f64) {
        self.svg.open("defs", &[]);
        let mut left = columns_at;
        for (index, (_, width)) in COLUMNS.iter().enumerate() {
            self.svg.open("clipPath", &[("id", &format!("column-{index}"))]);
            self.svg.empty("rect", &[("x", &left), ("width", &(width - 8.0)), ("height", &height)]);
            self.svg.close();
            left += width;
        }
        self.svg.close();
    }

    fn header(&mut self, room_id: &str, events: usize, columns_at: f64) {
        let heading = format!("{room_id} · newest {events} events, older ones above");
        self.svg.leaf("text", &[("class", &"heading"), ("x", &MARGIN), ("y", &24)], &heading);
        let legend = [
            ("message", 90.0, Mark::Message),
            ("state change", 116.0, Mark::State),
            ("soft-failed", 104.0, Mark::SoftFailed),
            ("rejected", 92.0, Mark::Rejected),
            ("forward extremity", 152.0, Mark::Extremity),
            ("cited, not known here", 168.0, Mark::Missing),
            ("earlier, not drawn", 130.0, Mark::Earlier),
        ];
        let mut left = MARGIN + mark::RADIUS;
        for (label, width, mark) in legend {
            mark.draw(&mut self.svg, left, 46.0);
            self.svg.leaf("text", &[("class", &"note"), ("x", &(left + 15.0)), ("y", &50)], label);
            left += width;
        }
        let mut left = columns_at;
        for (title, width) in COLUMNS {
            self.svg.leaf(
                "text",
                &[("class", &"column"), ("x", &left), ("y", &(HEADER_HEIGHT - 8.0))],
                title,
            );
            left += width;
        }
    }

    /// Down from the previous event, sideways into the lane of the edge, and sideways again at its end.
    fn edge(&mut self, edge: Edge) {
        let Edge { from, to, lane } = edge;
        let (start, end) = (self.layout.places[from], self.layout.places[to]);
        let mut path = format!("M{} {}", x(start.lane), y(start.row));
        let mut at = start;
        for next in [
            Place { row: start.row + 1, lane },
            Place { row: end.row.saturating_sub(1).max(start.row + 1), lane },
            end,
        ] {
            // If the end is in the next row, goes there directly.
            if next.row == end.row && next != end || next == at {
                continue;
            }
            let (x0, y0, x1, y1) = (x(at.lane), y(at.row), x(next.lane), y(next.row));
            path += &if at.lane == next.lane {
                format!("V{y1}")
            } else {
                let middle = (y0 + y1) / 2.0;
                format!("C{x0} {middle} {x1} {middle} {x1} {y1}")
            };
            at = next;
        }
        let class = match (&self.items[from], &self.items[to]) {
            (Item::Event(_), Item::Event(event)) if event.status == Status::Accepted => "edge",
            _ => "edge aside",
        };
        let color = COLORS[lane % COLORS.len()];
        self.svg.empty("path", &[("class", &class), ("d", &path), ("stroke", &color)]);
    }

    fn label(&mut self, item: &Item<'_>, place: Place, columns_at: f64) {
        let event_id = short(item.event_id());
        let (classes, texts) = match item {
            Item::Missing(_) => (
                ["id", "note", "", "", "", ""],
                [event_id, "not known here", "", "", "", ""].map(str::to_owned),
            ),
            Item::Earlier(_) => (
                ["id", "note", "", "", "", ""],
                [event_id, "earlier, not drawn", "", "", "", ""].map(str::to_owned),
            ),
            Item::Event(event) => {
                let class = if event.state_key.is_some() { "state-type" } else { "type" };
                let texts = [
                    event_id.to_owned(),
                    event.event_type.clone(),
                    event.state_key.as_deref().map(quoted_if_empty).unwrap_or_default(),
                    event.sender.clone(),
                    event.sent_at.clone().unwrap_or_default(),
                    verdict(event),
                ];
                (["id", class, "note", "note", "note", verdict_class(event)], texts)
            }
        };
        let mut left = columns_at;
        let baseline = y(place.row) + 4.0;
        for (index, ((class, text), (_, width))) in classes.iter().zip(texts).zip(COLUMNS).enumerate() {
            if !text.is_empty() {
                let clip = format!("url(#column-{index})");
                // A group of its own: the clipping area must not move with the text.
                self.svg.open("g", &[("clip-path", &clip)]);
                let text = ellipsis(&text, *class == "state-type", width - 8.0);
                self.svg.leaf("text", &[("class", class), ("x", &left), ("y", &baseline)], &text);
                self.svg.close();
            }
            left += width;
        }
    }
}

fn x(lane: usize) -> f64 {
    MARGIN + mark::RADIUS + lane as f64 * LANE_WIDTH
}

fn y(row: usize) -> f64 {
    HEADER_HEIGHT + (row as f64 + 0.5) * ROW_HEIGHT
}

/// The first characters of an event id: enough to distinguish the events of a picture.
fn short(event_id: &str) -> &str {
    event_id.char_indices().nth(9).map_or(event_id, |(end, _)| &event_id[..end])
}

/// Shortens a text that is too long for its column. If the font is wider than expected, the rest is clipped.
fn ellipsis(text: &str, is_bold: bool, width: f64) -> String {
    let narrow = if is_bold { 7.6 } else { 6.6 };
    let mut room = width;
    for (index, char) in text.char_indices() {
        room -= if char < '\u{1100}' { narrow } else { 2.0 * narrow };
        if room < 0.0 {
            return format!("{}…", &text[..index]);
        }
    }
    text.to_owned()
}

/// Most `state_key`s are empty: shows that there is one.
fn quoted_if_empty(state_key: &str) -> String {
    if state_key.is_empty() { "\"\"".to_owned() } else { state_key.to_owned() }
}

fn verdict(event: &GraphEvent) -> String {
    let reason = event.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match event.status {
        Status::Accepted if event.is_forward_extremity => "forward extremity".to_owned(),
        Status::Accepted => String::new(),
        Status::SoftFailed => format!("soft-failed{reason}"),
        Status::Rejected => format!("rejected{reason}"),
    }
}

fn verdict_class(event: &GraphEvent) -> &'static str {
    match event.status {
        Status::Accepted => "extremity-note",
        Status::SoftFailed => "soft-failed-note",
        Status::Rejected => "rejected-note",
    }
}

/// All details of an event, shown when the mouse is over it.
fn description(item: &Item<'_>) -> String {
    match item {
        Item::Missing(event_id) => format!("{event_id}\nnot known here"),
        Item::Earlier(event_id) => format!("{event_id}\nearlier than what is drawn"),
        Item::Event(event) => {
            let state_key =
                event.state_key.as_ref().map(|key| format!("state key: {key:?}\n")).unwrap_or_default();
            let sent_at = event.sent_at.as_deref().unwrap_or("at no time of the calendar");
            let (event_id, event_type, sender) = (&event.event_id, &event.event_type, &event.sender);
            let verdict = verdict(event);
            format!(
                "{event_id}\n{event_type}\n{state_key}{sender}\n{sent_at}\ndepth {}\n{verdict}",
                event.depth
            )
            .trim_end()
            .to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
