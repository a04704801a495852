//! Lays out the events of a graph: one in each row, older ones above, branches side by side in lanes.
//!
//! The graph is divided into *lines*: an event continues the line of a previous event or begins a new one. A
//! line stays in one lane from the row where it branches off another line to the row where it meets one, and
//! lines that have no row in common share lanes. An edge between two lines runs along one of them or, if both
//! continue without it, along a lane of its own. So no edge is drawn over another or through an event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What the layout needs of an event.
#[derive(Clone, Debug, Default)]
pub struct Vertex {
    /// The previous events, as indexes of vertices.
    pub prevs: Vec<usize>,
    /// Whether a line prefers to continue through it: rejected events are drawn aside.
    pub is_main: bool,
}

/// The row and lane of a vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub row: usize,
    pub lane: usize,
}

/// An edge from a previous event down to the event that cites it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// The lane in which it passes the rows between the two.
    pub lane: usize,
}

/// The positions of all vertices and edges.
#[derive(Debug, Default)]
pub struct Layout {
    /// In the order of the vertices.
    pub places: Vec<Place>,
    pub edges: Vec<Edge>,
    /// The number of lanes.
    pub lanes: usize,
}

/// The rows that a line takes in its lane, including the last.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: usize,
    last: usize,
    lane: usize,
}

/// Lays out a graph. Keeps the order of the vertices, except that events are below those that they cite.
pub fn lay_out(vertices: &[Vertex]) -> Layout {
    let order = topological_order(vertices);
    let mut rows = vec![0; vertices.len()];
    for (row, vertex) in order.iter().enumerate() {
        rows[*vertex] = row;
    }
    // Breaks circles, which only a dishonest server can make.
    let prevs: Vec<Vec<usize>> = (0..vertices.len())
        .map(|vertex| {
            vertices[vertex].prevs.iter().copied().filter(|prev| rows[*prev] < rows[vertex]).collect()
        })
        .collect();

    let heirs = heirs(vertices, &prevs, &order);
    let mut lines: Vec<Line> = Vec::new();
    let mut line_of = vec![0; vertices.len()];
    let mut continues: Vec<Option<usize>> = vec![None; vertices.len()];
    let mut tails: Vec<usize> = Vec::new();
    for (row, &vertex) in order.iter().enumerate() {
        continues[vertex] = prevs[vertex]
            .iter()
            .copied()
            .filter(|prev| heirs[*prev] == Some(vertex))
            .min_by_key(|prev| (!vertices[*prev].is_main, line_of[*prev]));
        line_of[vertex] = match continues[vertex] {
            Some(prev) => line_of[prev],
            None => {
                lines.push(Line { first: row, last: row, lane: 0 });
                tails.push(vertex);
                lines.len() - 1
            }
        };
        lines[line_of[vertex]].last = row;
        tails[line_of[vertex]] = vertex;
    }

    // Which line each edge runs along: needs all lines.
    let mut edges = Vec::new();
    let lines_of_events = lines.len();
    let heads: Vec<usize> = lines.iter().map(|line| line.first).collect();
    for &vertex in &order {
        for &prev in &prevs[vertex] {
            let (above, below) = (line_of[prev], line_of[vertex]);
            let line = if continues[vertex] == Some(prev) {
                below
            } else if tails[above] == prev {
                // It turns in its last row, where it would cross a line that begins there.
                lines[above].last = lines[above].last.max(rows[vertex]);
                above
            } else if heads[below] == rows[vertex] {
                lines[below].first = lines[below].first.min(rows[prev] + 1);
                below
            } else if rows[prev] + 1 == rows[vertex] {
                // An edge between neighboring rows needs no lane.
                below
            } else {
                lines.push(Line { first: rows[prev] + 1, last: rows[vertex], lane: 0 });
                lines.len() - 1
            };
            edges.push((prev, vertex, line));
        }
    }

    let lanes = assign_lanes(&mut lines, lines_of_events);
    Layout {
        places: (0..vertices.len())
            .map(|vertex| Place { row: rows[vertex], lane: lines[line_of[vertex]].lane })
            .collect(),
        edges: edges.into_iter().map(|(from, to, line)| Edge { from, to, lane: lines[line].lane }).collect(),
        lanes,
    }
}

/// The vertices in topological order, otherwise in the given order.
fn topological_order(vertices: &[Vertex]) -> Vec<usize> {
    let mut missing: Vec<usize> = vertices.iter().map(|vertex| vertex.prevs.len()).collect();
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); vertices.len()];
    for (vertex, Vertex { prevs, .. }) in vertices.iter().enumerate() {
        prevs.iter().for_each(|prev| next[*prev].push(vertex));
    }
    let free = (0..vertices.len()).filter(|vertex| missing[*vertex] == 0);
    let mut free: BinaryHeap<Reverse<usize>> = free.map(Reverse).collect();
    let mut is_placed = vec![false; vertices.len()];
    let mut order = Vec::with_capacity(vertices.len());
    let mut first_unplaced = 0;
    while order.len() < vertices.len() {
        // If none is free, there is a circle.
        let vertex = free.pop().map_or_else(
            || {
                while is_placed[first_unplaced] {
                    first_unplaced += 1;
                }
                first_unplaced
            },
            |Reverse(vertex)| vertex,
        );
        if std::mem::replace(&mut is_placed[vertex], true) {
            continue;
        }
        order.push(vertex);
        for &next in &next[vertex] {
            missing[next] = missing[next].saturating_sub(1);
            if missing[next] == 0 && !is_placed[next] {
                free.push(Reverse(next));
            }
        }
    }
    order
}

/// For each vertex, the citing vertex through which its line continues: the main one with the longest path.
fn heirs(vertices: &[Vertex], prevs: &[Vec<usize>], order: &[usize]) -> Vec<Option<usize>> {
    let mut heights = vec![0_usize; vertices.len()];
    let mut heirs: Vec<Option<usize>> = vec![None; vertices.len()];
    for &vertex in order.iter().rev() {
        let rank = |vertex: usize| (vertices[vertex].is_main, heights[vertex]);
        let mut raised = Vec::new();
        for &prev in &prevs[vertex] {
            // Later rows are visited first, so of equals the uppermost wins.
            if heirs[prev].is_none_or(|heir| rank(heir) <= rank(vertex)) {
                heirs[prev] = Some(vertex);
            }
            raised.push((prev, heights[vertex] + 1));
        }
        for (prev, height) in raised {
            heights[prev] = heights[prev].max(height);
        }
    }
    heirs
}

/// Assigns each line the first lane that is free in all its rows, first to lines of events, then to lines of
/// edges only. Returns the number of lanes.
fn assign_lanes(lines: &mut [Line], lines_of_events: usize) -> usize {
    let mut by_start: Vec<usize> = (0..lines.len()).collect();
    by_start.sort_by_key(|line| (*line >= lines_of_events, lines[*line].first, Reverse(lines[*line].last)));
    // The occupied rows of each lane, first to last.
    let mut taken: Vec<BTreeMap<usize, usize>> = Vec::new();
    for line in by_start {
        let Line { first, last, .. } = lines[line];
        let is_free = |taken: &BTreeMap<usize, usize>| {
            taken.range(..=last).next_back().is_none_or(|(_, taken_last)| *taken_last < first)
        };
        let lane = taken.iter().position(is_free).unwrap_or_else(|| {
            taken.push(BTreeMap::new());
            taken.len() - 1
        });
        taken[lane].insert(first, last);
        lines[line].lane = lane;
    }
    taken.len()
}

#[cfg(test)]
mod tests;
