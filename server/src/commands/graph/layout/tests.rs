#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;

use proptest::{
    collection::vec,
    prelude::{Strategy, prop_assert, prop_assert_eq, proptest},
};

use super::{Layout, Place, Vertex, lay_out};

fn graph(prevs: &[&[usize]]) -> Vec<Vertex> {
    prevs.iter().map(|prevs| Vertex { prevs: prevs.to_vec(), is_main: true }).collect()
}

fn lanes(layout: &Layout) -> Vec<usize> {
    layout.places.iter().map(|place| place.lane).collect()
}

#[test]
fn nothing_has_no_lanes() {
    let layout = lay_out(&[]);
    assert_eq!((layout.lanes, layout.places.len(), layout.edges.len()), (0, 0, 0));
}

#[test]
fn a_line_is_one_lane() {
    let layout = lay_out(&graph(&[&[], &[0], &[1], &[2]]));
    assert_eq!(layout.places, [0, 1, 2, 3].map(|row| Place { row, lane: 0 }));
    assert!(layout.edges.iter().all(|edge| edge.lane == 0));
}

#[test]
fn a_fork_and_its_merge_take_a_second_lane() {
    // 0 ─ 1 ─ 3 ─ 4 ─ 5, and 0 ─ 2 ─ 5
    let layout = lay_out(&graph(&[&[], &[0], &[0], &[1], &[3], &[4, 2]]));
    assert_eq!(lanes(&layout), [0, 0, 1, 0, 0, 0]);
    assert_eq!(layout.lanes, 2);
    let merging = layout.edges.iter().find(|edge| (edge.from, edge.to) == (2, 5)).unwrap();
    assert_eq!(merging.lane, 1);
}

#[test]
fn the_longest_branch_goes_straight_on() {
    // 0 ─ 1, and 0 ─ 2 ─ 3
    let layout = lay_out(&graph(&[&[], &[0], &[0], &[2]]));
    assert_eq!(lanes(&layout), [0, 1, 0, 0]);
}

#[test]
fn rejected_events_stand_aside() {
    let mut vertices = graph(&[&[], &[0], &[0]]);
    vertices[1].is_main = false;
    assert_eq!(lanes(&lay_out(&vertices)), [0, 1, 0]);
    vertices[2].is_main = false;
    assert_eq!(lanes(&lay_out(&vertices)), [0, 0, 1]);
}

#[test]
fn lanes_are_used_again() {
    // Two forks, one after the other
    let layout = lay_out(&graph(&[&[], &[0], &[0], &[1, 2], &[3], &[3], &[4, 5]]));
    assert_eq!(layout.lanes, 2);
    assert_eq!(lanes(&layout), [0, 0, 1, 0, 0, 1, 0]);
}

#[test]
fn an_edge_past_both_lines_has_a_lane_of_its_own() {
    // 0 ─ 1 ─ 2 ─ 3 ─ 4, and 0 ─ 3
    let layout = lay_out(&graph(&[&[], &[0], &[1], &[2, 0], &[3]]));
    assert_eq!(lanes(&layout), [0; 5]);
    let past = layout.edges.iter().find(|edge| (edge.from, edge.to) == (0, 3)).unwrap();
    assert_eq!((past.lane, layout.lanes), (1, 2));
}

#[test]
fn events_stand_below_those_that_they_cite() {
    let layout = lay_out(&graph(&[&[1], &[2], &[]]));
    assert_eq!(layout.places.iter().map(|place| place.row).collect::<Vec<_>>(), [2, 1, 0]);
}

#[test]
fn circles_are_opened() {
    let layout = lay_out(&graph(&[&[1], &[0], &[1]]));
    assert_eq!(layout.places.iter().map(|place| place.row).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(layout.edges.len(), 2);
}

fn graphs() -> impl Strategy<Value = Vec<Vertex>> {
    vec((vec(0..1000_usize, 0..4), proptest::bool::weighted(0.8)), 0..60).prop_map(|choices| {
        let vertex = |(index, (choices, is_main)): (usize, (Vec<usize>, bool))| {
            // Mostly the newest ones.
            let prev = |choice: usize| index - 1 - (choice % 10 * (choice % 7)) % index;
            let prevs: HashSet<usize> = choices.into_iter().filter(|_| index > 0).map(prev).collect();
            Vertex { prevs: prevs.into_iter().collect(), is_main }
        };
        choices.into_iter().enumerate().map(vertex).collect()
    })
}

proptest! {
    #[test]
    fn no_edge_runs_through_an_event_or_over_another(vertices in graphs()) {
        let Layout { places, edges, lanes } = lay_out(&vertices);
        let rows: HashSet<usize> = places.iter().map(|place| place.row).collect();
        prop_assert_eq!(rows.len(), vertices.len());
        prop_assert_eq!(edges.len(), vertices.iter().map(|vertex| vertex.prevs.len()).sum::<usize>());
        for edge in &edges {
            let (from, to) = (places[edge.from], places[edge.to]);
            prop_assert!(from.row < to.row && edge.lane < lanes);
            for between in from.row + 1..to.row {
                let is_free = !places.contains(&Place { row: between, lane: edge.lane });
                prop_assert!(is_free, "row {}, lane {}", between, edge.lane);
            }
            // Two edges may share a lane where they come from one event or lead to one.
            for other in edges.iter().filter(|other| other.lane == edge.lane) {
                let together = places[other.from].row.max(from.row) + 1 < places[other.to].row.min(to.row);
                prop_assert!(!together || edge.from == other.from || edge.to == other.to);
            }
        }
    }
}
