//! The marks of events: each kind has a color and a shape of its own.

use std::fmt::Display;

use crate::commands::graph::svg::Svg;

/// Half of a mark's width.
pub const RADIUS: f64 = 6.5;

/// The mark of a vertex or of an entry of the legend.
#[derive(Clone, Copy)]
pub enum Mark {
    Message,
    State,
    SoftFailed,
    Rejected,
    /// A ring around another.
    Extremity,
    Missing,
    Earlier,
}

impl Mark {
    /// Draws it around a point.
    pub fn draw(self, svg: &mut Svg, x: f64, y: f64) {
        match self {
            Self::Message => {
                let radius = RADIUS - 1.0;
                svg.empty("circle", &[("class", &"message"), ("cx", &x), ("cy", &y), ("r", &radius)]);
            }
            Self::State => {
                let (left, top, side) = (x - RADIUS, y - RADIUS, 2.0 * RADIUS);
                let place: [(&str, &dyn Display); 6] = [
                    ("class", &"state"),
                    ("x", &left),
                    ("y", &top),
                    ("width", &side),
                    ("height", &side),
                    ("rx", &2),
                ];
                svg.empty("rect", &place);
            }
            Self::SoftFailed => soft_failed(svg, x, y),
            Self::Rejected => rejected(svg, x, y),
            Self::Extremity => {
                svg.empty("circle", &[("class", &"extremity"), ("cx", &x), ("cy", &y), ("r", &10.5)]);
            }
            Self::Missing => {
                svg.empty("circle", &[("class", &"missing"), ("cx", &x), ("cy", &y), ("r", &RADIUS)]);
                svg.leaf("text", &[("class", &"question"), ("x", &x), ("y", &(y + 3.5))], "?");
            }
            Self::Earlier => {
                for offset in [-5.0, 0.0, 5.0] {
                    let y = y + offset;
                    svg.empty("circle", &[("class", &"earlier"), ("cx", &x), ("cy", &y), ("r", &1.5)]);
                }
            }
        }
    }
}

/// A triangle with an exclamation mark.
fn soft_failed(svg: &mut Svg, x: f64, y: f64) {
    let triangle = format!("M{x} {} L{} {} H{} Z", y - 8.0, x + 8.5, y + 6.5, x - 8.5);
    svg.empty("path", &[("class", &"soft-failed"), ("d", &triangle)]);
    let mark = format!("M{x} {} V{} M{x} {} V{}", y - 3.5, y + 1.5, y + 3.5, y + 5.0);
    svg.empty("path", &[("class", &"on-mark"), ("d", &mark)]);
}

/// An octagon with a cross.
fn rejected(svg: &mut Svg, x: f64, y: f64) {
    let (outer, inner) = (8.0, 3.4);
    let corners = [
        (-inner, -outer),
        (inner, -outer),
        (outer, -inner),
        (outer, inner),
        (inner, outer),
        (-inner, outer),
        (-outer, inner),
        (-outer, -inner),
    ];
    let corners = corners.map(|(dx, dy)| format!("{} {}", x + dx, y + dy)).join(" L");
    svg.empty("path", &[("class", &"rejected"), ("d", &format!("M{corners} Z"))]);
    let (left, right, top, bottom) = (x - 3.2, x + 3.2, y - 3.2, y + 3.2);
    let cross = format!("M{left} {top} L{right} {bottom} M{left} {bottom} L{right} {top}");
    svg.empty("path", &[("class", &"on-mark"), ("d", &cross)]);
}
