use super::{draw, short};
use crate::commands::graph::event::{GraphEvent, Status};

fn event(event_id: &str, prev_events: &[&str]) -> GraphEvent {
    GraphEvent {
        event_id: event_id.to_owned(),
        event_type: "m.room.message".to_owned(),
        state_key: None,
        sender: "@alice:example.org".to_owned(),
        sent_at: Some("2026-01-02 03:04:05".to_owned()),
        depth: 7,
        status: Status::Accepted,
        reason: None,
        is_forward_extremity: false,
        prev_events: prev_events.iter().map(|prev| (*prev).to_owned()).collect(),
        missing_prev_events: Vec::new(),
    }
}

#[test]
fn every_event_has_its_whole_id_in_a_tooltip() {
    let picture = draw(
        "!r",
        &[event("$first-of-the-events", &["$before"]), event("$second", &["$first-of-the-events"])],
    );
    assert!(picture.contains("<title>$first-of-the-events\nm.room.message\n@alice:example.org\n"));
    assert!(picture.contains(">$first-of<"));
    assert!(picture.contains("<title>$before\nearlier than what is drawn</title>"));
    assert_eq!(picture.matches("<path class=\"edge").count(), 2);
}

#[test]
fn verdicts_are_marked() {
    let rejected =
        GraphEvent { status: Status::Rejected, reason: Some("no".to_owned()), ..event("$r", &["$a"]) };
    let soft_failed = GraphEvent { status: Status::SoftFailed, ..event("$s", &["$a"]) };
    let accepted = GraphEvent { is_forward_extremity: true, ..event("$a", &[]) };
    let legend = draw("!r", &[]);
    let picture = draw("!r", &[accepted, rejected, soft_failed]);
    for class in ["rejected", "soft-failed", "extremity"] {
        let class = format!("class=\"{class}\"");
        assert_eq!(picture.matches(&class).count(), legend.matches(&class).count() + 1, "{class}");
    }
    assert!(picture.contains(">rejected: no<") && picture.contains(">soft-failed<"));
    assert!(picture.contains(">forward extremity<"));
    assert_eq!(picture.matches("class=\"edge aside\"").count(), 2);
}

#[test]
fn an_event_that_is_missing_has_a_row() {
    let mut cites = event("$a", &["$gone", "$old"]);
    cites.missing_prev_events.push("$gone".to_owned());
    let also_cites = event("$b", &["$gone", "$a"]);
    let picture = draw("!r", &[cites, also_cites]);
    assert_eq!(picture.matches("<title>$gone\nnot known here</title>").count(), 1);
    assert_eq!(picture.matches("class=\"edge").count(), 4);
}

#[test]
fn what_others_wrote_is_text() {
    let nasty = GraphEvent {
        event_type: "</text><script>alert(1)</script>".to_owned(),
        state_key: Some("\"&'\0\u{202e}".to_owned()),
        ..event("$é<b>", &["$a"])
    };
    let picture = draw("!<i>", &[nasty]);
    for markup in ["<script", "<b>", "<i>", "\0", "\u{202e}"] {
        assert!(!picture.contains(markup), "{markup:?}");
    }
}

#[test]
fn short_ids_end_between_characters() {
    assert_eq!(short("$ééééééééééé"), "$éééééééé");
    assert_eq!(short("$a"), "$a");
}
