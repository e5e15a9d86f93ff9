//! A window of a run as a picture: a lifeline for everybody, an arrow for every frame.

use std::fmt::Write as _;

use redplane_protocol::Schema;

use crate::describe::describe;
use crate::event::{Event, Place};
use crate::history::Micros;

/// Most arrows and marks in one picture: about as much as anybody looks at.
pub const MARKS_MAX: usize = 400;

/// Between two lifelines.
const COLUMN: usize = 220;
/// Between two marks.
const ROW: usize = 18;
const TOP: usize = 60;
const LEFT: usize = 130;
/// Characters of a label that fit beside its arrow.
const LABEL_MAX: usize = 64;

/// What was seen, to be drawn.
pub struct Picture {
    schema: Schema,
    from: Micros,
    until: Micros,
    places: Vec<Place>,
    marks: Vec<Mark>,
}

struct Mark {
    at: Micros,
    from: Place,
    to: Place,
    /// How it is drawn: the style's name.
    class: &'static str,
    label: String,
}

impl Picture {
    /// A picture of what happens in this window, at most [`MARKS_MAX`] of it. `switches` and `nodes` have a lifeline.
    #[must_use]
    pub fn new(schema: Schema, from: Micros, until: Micros, switches: u8, nodes: u8) -> Picture {
        let places = [Place::Hosts]
            .into_iter()
            .chain((0..switches).map(Place::Switch))
            .chain((0..nodes).map(Place::Node));
        Picture { schema, from, until, places: places.collect(), marks: Vec::new() }
    }

    /// Adds an event, if it is within the window.
    pub fn add(&mut self, now: Micros, event: &Event<'_>) {
        if now < self.from || now > self.until || self.marks.len() == MARKS_MAX {
            return;
        }
        let mark = match *event {
            Event::Fault { place, text } => {
                Mark { at: now, from: place, to: place, class: "fault", label: text.to_owned() }
            }
            Event::Frame { from, to, loss, frame, .. } => {
                let description = describe(from, to, frame, &self.schema);
                let lost = loss.map(|loss| format!("{}: ", loss.name())).unwrap_or_default();
                let label = format!("{lost}{} {}", description.kind, description.text);
                let class = match (loss, from, to) {
                    (Some(_), ..) => "lost",
                    (_, Place::Node(_), Place::Node(_)) => "chain",
                    (_, Place::Hosts, _) | (_, _, Place::Hosts) => "packet",
                    _ => "message",
                };
                Mark { at: now, from, to, class, label }
            }
        };
        self.marks.push(mark);
    }

    /// The picture as SVG.
    #[must_use]
    pub fn to_svg(&self, title: &str) -> String {
        let (width, height) = (LEFT + COLUMN * self.places.len(), TOP + ROW * (self.marks.len() + 2));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\">\n<style>{STYLE}</style>\n{ARROW}\n<rect width=\"100%\" height=\"100%\" \
             class=\"paper\"/>\n<text x=\"8\" y=\"16\" class=\"title\">{}</text>\n",
            escape(title)
        );
        for place in &self.places {
            let x = self.x(*place);
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"40\" class=\"name\">{place}</text>");
            let _ = writeln!(svg, "<line x1=\"{x}\" y1=\"48\" x2=\"{x}\" y2=\"{height}\" class=\"life\"/>");
        }
        for (row, mark) in self.marks.iter().enumerate() {
            self.draw(&mut svg, TOP + ROW * (row + 1), mark);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw(&self, svg: &mut String, y: usize, mark: &Mark) {
        let Mark { at, class, .. } = mark;
        let (x1, x2) = (self.x(mark.from), self.x(mark.to));
        let label: String = mark.label.chars().take(LABEL_MAX).collect();
        let _ = writeln!(svg, "<text x=\"8\" y=\"{y}\" class=\"time\">{at} µs</text>");
        if *class == "fault" {
            let _ = writeln!(svg, "<circle cx=\"{x1}\" cy=\"{y}\" r=\"5\" class=\"fault\"/>");
        } else {
            let _ = writeln!(svg, "<line x1=\"{x1}\" y1=\"{y}\" x2=\"{x2}\" y2=\"{y}\" class=\"{class}\"/>");
        }
        let (x, y) = (x1.min(x2) + 8, y - 3);
        let (full, short) = (escape(&mark.label), escape(&label));
        let _ =
            writeln!(svg, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\"><title>{full}</title>{short}</text>");
    }

    fn x(&self, place: Place) -> usize {
        LEFT + COLUMN * self.places.iter().position(|other| *other == place).unwrap_or(0)
    }
}

const STYLE: &str = ".paper{fill:#fff}\
text{font:10px monospace;fill:#222;paint-order:stroke;stroke:#fff;stroke-width:3px}\
.title,.name{font-weight:bold;font-size:12px}.name{text-anchor:middle}.time{fill:#888}\
line{marker-end:url(#arrow)}.life{stroke:#ccc;marker-end:none}\
line.message{stroke:#1f4e9c}line.chain{stroke:#6b8f23}line.packet{stroke:#555}\
line.lost{stroke:#c33;stroke-dasharray:5 3}text.lost,text.fault{fill:#c33}circle.fault{fill:#c33}";

const ARROW: &str = "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
