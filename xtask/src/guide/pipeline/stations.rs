//! The stations in the text of an emitted control.

use anyhow::{Context, ensure};

/// A step of a control's `apply`.
#[derive(Debug, PartialEq)]
pub(super) struct Station {
    /// As people call it: `value load`.
    pub(super) name: String,
    /// Whether it is the app's code, not the protocol's.
    pub(super) is_apps: bool,
    /// Which packets come by, condition within condition.
    pub(super) when: Vec<&'static str>,
    /// What the emitted P4 says of it.
    pub(super) what: String,
}

/// What the conditions of the emitted P4 mean.
const CONDITIONS: &[(&str, &str)] = &[
    ("meta.role == rp_role_t.TRAFFIC", "traffic"),
    ("meta.step != rp_step_t.NONE", "what touches a slot"),
    ("meta.role == rp_role_t.MESSAGE", "a message"),
    ("meta.role == rp_role_t.COPY", "a copy of a WRITE"),
    ("meta.role == rp_role_t.SWEEP", "a sweep"),
    (
        "meta.fate == rp_fate_t.STORE || meta.fate == rp_fate_t.RESEND || meta.slot.renew",
        "what goes to the store",
    ),
    (
        "meta.fate == rp_fate_t.STORE || standard_metadata.instance_type == RP_INSTANCE_INGRESS_CLONE",
        "what goes to the store",
    ),
    ("standard_metadata.instance_type == RP_INSTANCE_EGRESS_CLONE", "the clone of a WRITE"),
    (
        "(meta.fate == rp_fate_t.STORE || meta.fate == rp_fate_t.RESEND) && hdr.rp.kind == rp_kind_t.WRITE",
        "a WRITE that leaves",
    ),
    ("hdr.rp.isValid() && hdr.rp_ipv4.total_len == RP_MESSAGE_BYTES", "a message alone"),
    (
        "meta.fate == rp_fate_t.RECIRCULATE || meta.fate == rp_fate_t.CIRCLE || standard_metadata.instance_type == \
         RP_INSTANCE_EGRESS_CLONE",
        "what goes round",
    ),
];

/// What v1model itself does, and why it is asked to.
const EXTERNS: &[(&str, &str, &str)] = &[
    (
        "clone_preserving_field_list(",
        "clone",
        "Makes the copy of a WRITE that circles until it is acknowledged.",
    ),
    ("truncate(", "truncate", "Cuts off the packet behind a message that carries none."),
    (
        "recirculate_preserving_field_list(",
        "recirculate",
        "Back to the parser: what a handler sends through once more, what an answer brought back, and copies.",
    ),
];

/// The stations of a control, in their order.
///
/// # Errors
/// If the control is not there, or has a condition that nobody has put into words.
pub(super) fn of(program: &str, control: &str) -> anyhow::Result<Vec<Station>> {
    let text = body(program, control).with_context(|| format!("there is no control {control}"))?;
    let (instances, apply) = text.split_once("    apply {\n").context("a control without apply")?;
    let mut open: Vec<&'static str> = Vec::new();
    let mut stations = Vec::new();
    let mut lines = apply.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line.starts_with('}') {
            open.pop();
        }
        if let Some(start) = line.trim_start_matches("} else ").strip_prefix("if (") {
            let mut condition = start.to_owned();
            while !condition.ends_with(") {") {
                condition = format!("{condition} {}", lines.next().context("a condition without an end")?);
            }
            open.push(in_words(condition.trim_end_matches(") {"))?);
        } else if let Some((instance, _)) = line.split_once(".apply(") {
            let declared = instances.lines().find(|line| line.trim_end().ends_with(&format!(" {instance};")));
            let kind = declared.and_then(|line| line.trim().split_once('(')).map(|(kind, _)| kind);
            let kind = kind.with_context(|| format!("`{instance}` is not declared"))?;
            stations.push(Station {
                name: instance.trim_start_matches("rp_").replace('_', " "),
                is_apps: !instance.starts_with("rp_"),
                when: open.clone(),
                what: description(program, kind)?,
            });
        } else if let Some((_, name, what)) = EXTERNS.iter().find(|(call, ..)| line.starts_with(call)) {
            let (name, what) = ((*name).to_owned(), (*what).to_owned());
            stations.push(Station { name, is_apps: false, when: open.clone(), what });
        }
    }
    ensure!(!stations.is_empty(), "{control} has no station");
    Ok(stations)
}

fn body<'a>(program: &'a str, control: &str) -> Option<&'a str> {
    let (_, rest) = program.split_once(&format!("\ncontrol {control}("))?;
    rest.split_once("\n}\n").map(|(body, _)| body)
}

fn in_words(condition: &str) -> anyhow::Result<&'static str> {
    if let Some((_, point)) = condition.split_once(".point == ").or(condition.split_once("meta.point == ")) {
        // A handler's lease points are numbered; which one it is the station's name says.
        ensure!(point.contains("_point_t."), "what is the point {point}?");
        return Ok(if condition.contains("meta.pass.absent == 1") { "no record" } else { "a live lease" });
    }
    let known = CONDITIONS.iter().find(|(known, _)| *known == condition);
    known.map(|(_, words)| *words).with_context(|| format!("nobody has put `{condition}` into words"))
}

/// What stands above a control, or what speaks of it by name.
fn description(program: &str, control: &str) -> anyhow::Result<String> {
    let lines: Vec<&str> = program.lines().collect();
    let start = format!("control {control}(");
    let at = lines.iter().position(|line| line.starts_with(&start)).context("a control is declared")?;
    let is_doc = |line: &&str| line.starts_with("///");
    let mut end = at;
    if !lines[at - 1].starts_with("///") {
        let names_it = |line: &&str| is_doc(line) && line.split([' ', ',', '.']).any(|word| word == control);
        let named = lines.iter().position(names_it);
        end = named.with_context(|| format!("nothing says what {control} does"))?;
        end += lines[end..].iter().take_while(|line| is_doc(line)).count();
    }
    let count = lines[..end].iter().rev().take_while(|line| is_doc(line)).count();
    let words: Vec<&str> = lines[end - count..end].iter().map(|line| placeless(line[3..].trim())).collect();
    Ok(words.join(" "))
}

/// A line without the place in the app's source, which moves with every change of the app.
fn placeless(line: &str) -> &str {
    match line.split_once(".rs:").and_then(|(_, rest)| rest.split_once(": ")) {
        Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "
/// Decides.
control RpIntake(in headers_t hdr) {
    apply { }
}
/// a/b.rs:12: the rest, which Rest also does.
register<bit<32>>(1) state;

control Rest(in headers_t hdr) {
    apply { }
}
control Ingress(in headers_t hdr) {
    RpIntake() rp_intake;
    Rest()     rest;

    apply {
        rp_intake.apply(hdr);
        if (meta.step != rp_step_t.NONE) {
            if (meta.slot.live && meta.point == nat_point_t.LEASE_1) {
                rest.apply(hdr);
            }
        } else if (meta.role == rp_role_t.COPY) {
            truncate(1);
        }
    }
}
";

    #[test]
    fn stations_stand_in_the_order_of_the_control() {
        let found = of(PROGRAM, "Ingress").unwrap();
        let names: Vec<&str> = found.iter().map(|station| station.name.as_str()).collect();
        assert_eq!(names, ["intake", "rest", "truncate"]);
        assert_eq!(found[0].what, "Decides.");
        assert_eq!((found[1].is_apps, found[1].what.as_str()), (true, "the rest, which Rest also does."));
        assert_eq!(found[1].when, ["what touches a slot", "a live lease"]);
        assert_eq!(found[2].when, ["a copy of a WRITE"]);
    }

    #[test]
    fn an_unknown_condition_is_an_error() {
        let program = PROGRAM.replace("rp_role_t.COPY", "rp_role_t.GHOST");
        assert!(of(&program, "Ingress").unwrap_err().to_string().contains("GHOST"));
    }
}
