use super::{Svg, escaped};

#[test]
fn elements_nest_and_end() {
    let mut svg = Svg::default();
    svg.open("svg", &[("width", &10)]);
    svg.open("g", &[]);
    svg.empty("circle", &[("r", &1.5)]);
    svg.close();
    svg.leaf("text", &[("class", &"a\"b")], "1 < 2");
    let expected = "<svg width=\"10\"><g><circle r=\"1.5\"/>\n</g>\n\
                    <text class=\"a&quot;b\">1 &lt; 2</text>\n</svg>\n";
    assert_eq!(svg.finish(), expected);
}

#[test]
fn text_cannot_leave_its_place() {
    assert_eq!(escaped("</text><script>&"), "&lt;/text&gt;&lt;script&gt;&amp;");
    assert_eq!(escaped("a\0b\u{1b}c\u{202e}d\u{ffff}\n"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}\n");
}
