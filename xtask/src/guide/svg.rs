//! As much of SVG as a diagram needs. Text stays text, so that it can be searched and read aloud.

use std::fmt::Write as _;

/// Lines and words.
pub(super) const INK: &str = "#2b3440";
/// Words that explain.
pub(super) const FAINT: &str = "#5d6977";

/// A picture, from the top left corner on, in pixels.
pub(super) struct Svg {
    width: u32,
    body: String,
}

/// How a text stands at its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: u32) -> Self {
        Self { width, body: String::new() }
    }

    /// A box with round corners.
    pub(super) fn block(&mut self, at: (u32, u32), size: (u32, u32), fill: &str, dashed: bool) {
        let dashes = if dashed { r#" stroke-dasharray="4 3""# } else { "" };
        let ((x, y), (width, height)) = (at, size);
        self.line(&format!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{INK}"{dashes}/>"#
        ));
    }

    pub(super) fn text(&mut self, at: (u32, u32), anchor: Anchor, size: u32, color: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let ((x, y), text) = (at, escaped(text));
        self.line(&format!(
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{color}">{text}</text>"#
        ));
    }

    /// A line by way of points, with a head at its end if it is an arrow.
    pub(super) fn way(&mut self, points: &[(u32, u32)], arrow: bool) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        let head = if arrow { r#" marker-end="url(#head)""# } else { "" };
        self.line(&format!(r#"<polyline points="{}" fill="none" stroke="{INK}"{head}/>"#, points.join(" ")));
    }

    /// The whole picture, on a ground of its own: it looks the same on a light and on a dark page.
    pub(super) fn finish(self, height: u32, title: &str) -> String {
        let (width, title) = (self.width, escaped(title));
        format!(
            r#"<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"
     role="img" font-family="sans-serif">
<!-- Made by `cargo xtask guide`; do not edit. -->
<title>{title}</title>
<defs>
<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,0 L8,4 L0,8 z" fill="{INK}"/>
</marker>
</defs>
<rect width="{width}" height="{height}" fill="white"/>
{}</svg>
"#,
            self.body
        )
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.body, "{text}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
