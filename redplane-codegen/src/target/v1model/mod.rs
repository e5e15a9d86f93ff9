//! P4₁₆ for BMv2's `simple_switch`.
//!
//! `lower` turns the IR into lines (headers, parse graph, handler, checksums: one module each), the templates under
//! `templates/v1model/` put them into place. Before working on this file read `v1model.p4` of p4c, and
//! `targets/simple_switch/simple_switch.cpp` of BMv2 for what clones and recirculation keep.

mod checksums;
mod expr;
mod handler;
mod model;
mod names;
mod packet;
mod records;

use askama::Template;

pub(crate) use self::handler::{column_name, matching, parameter_name, table_places};
use crate::ir::App;

/// Most routes of forward().
pub(crate) const ROUTES_MAX: u32 = 1 << 12;
/// Most shards of the store.
pub(crate) const SHARDS_MAX: u32 = 1 << 8;

/// Mirror session of the circling copies.
pub(crate) const SESSION_CIRCLE: u32 = 1;
/// Mirror session of the first shard's renewals; the other shards' follow.
pub(crate) const SESSION_RENEW: u32 = 16;
const _: () = assert!(SESSION_RENEW + SHARDS_MAX < 1 << 15, "BMv2 has 15 bits for a session");

/// Stands for "the next line's own number" until the numbers are known.
const OWN_LINE: &str = "#line here";

#[derive(Template)]
#[template(path = "v1model/app.p4")]
struct Page {
    app: model::View,
}

/// The P4 program of an app. `source_path` is the Rust file as seen from the workspace's root: comments and `#line`
/// name it, so that what p4c says about the author's code points at the author's line.
pub fn render(app: &App, source_path: &str) -> String {
    let page = Page { app: model::View::new(app, source_path) };
    let text = page.render().expect("the templates cannot fail: they only print strings");
    number_lines(&text, &format!("{}.p4", app.name))
}

/// The name of the ingress control, which the control plane's names begin with.
pub(crate) fn ingress_name(app: &App) -> String {
    format!("{}Ingress", names::camel(&app.name))
}

/// The name of the parser.
pub(crate) fn parser_name(app: &App) -> String {
    format!("{}Parser", names::camel(&app.name))
}

/// Gives the file its own line numbers back after each stretch of the author's.
fn number_lines(text: &str, file: &str) -> String {
    let mut numbered = String::with_capacity(text.len());
    for (index, line) in text.trim_end().lines().enumerate() {
        if line == OWN_LINE {
            numbered.push_str(&format!("#line {} \"{file}\"", index + 2));
        } else {
            numbered.push_str(line.trim_end());
        }
        numbered.push('\n');
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_lines_are_counted_from_one() {
        assert_eq!(number_lines("a\n#line here\nb  \n\n", "x.p4"), "a\n#line 3 \"x.p4\"\nb\n");
    }
}
