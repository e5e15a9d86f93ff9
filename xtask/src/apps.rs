//! `cargo xtask apps`: what the apps take and what they stand, as one table, in the guide too.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// Where the table is.
const PAGE: &str = "guide/src/apps.md";
const BEGIN: &str = "<!-- cargo xtask apps: begin -->\n";
const END: &str = "<!-- cargo xtask apps: end -->";

/// Ethernet, IPv4 and UDP around a message.
const ENVELOPE_BYTES: u64 = 14 + 20 + 8;

/// The apps, and what the paper's figure 10 says of theirs: replication's share of the traffic in per cent.
const APPS: [(&str, f64); 3] = [("nat", 0.2), ("firewall", 0.1), ("load_balancer", 0.1)];

/// Runs the trials and writes the table.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let trials = trials(root)?;
    let table = table(root, &trials)?;
    println!("{table}");
    let page = root.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
    let (before, rest) =
        text.split_once(BEGIN).with_context(|| format!("{PAGE} has no place for the table"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the table in {PAGE} has no end"))?;
    fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}"))?;
    let lost = APPS.iter().any(|(app, _)| number(&of(&trials, app)["failovers"]["lost"]) != 0);
    let scan = ["passed", "records_made", "harmed"].iter().any(|what| number(&trials["scan"][what]) != 0);
    if lost || scan || number(&trials["churn"]["moved"]) != 0 {
        bail!("an app did not stand its trial");
    }
    Ok(())
}

/// What the trials of the apps gave, optimised.
fn trials(root: &Path) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["run", "--quiet", "--release", "--package", "apps", "--bin", "trials"];
    let output =
        Command::new(cargo).current_dir(root).args(arguments).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the trials failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("the trials print JSON")
}

fn of<'a>(trials: &'a Value, app: &str) -> &'a Value {
    let apps = trials["apps"].as_array().map_or(&[][..], Vec::as_slice);
    apps.iter().find(|known| known["app"] == app).unwrap_or(&Value::Null)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

fn table(root: &Path, trials: &Value) -> anyhow::Result<String> {
    let mut text = String::from(
        "| app | lines of Rust | lines of P4 | p4c | bytes around a packet | replication | in the paper | lost |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (app, paper) in APPS {
        let source = fs::read_to_string(root.join("apps/src").join(app).with_extension("rs"))?;
        let program = root.join("p4-out").join(app).join("v1model").join(app).with_extension("p4");
        let emitted = fs::read_to_string(&program)?;
        let schema = fs::read(root.join("p4-out").join(app).join("schema.json"))?;
        let schema: Value = serde_json::from_slice(&schema)?;
        let tried = of(trials, app);
        writeln!(
            text,
            "| `{app}` | {} | {} | {} | {} | {:.2} % | {paper} % | {} of {} |",
            code_lines(&source),
            emitted.lines().count(),
            verdict(root, &program)?,
            ENVELOPE_BYTES + number(&schema["wire"]["frame_offset"]),
            tried["share_percent"].as_f64().unwrap_or(f64::NAN),
            number(&tried["failovers"]["lost"]),
            number(&tried["failovers"]["opened"]),
        )?;
    }
    let (scan, churn) = (&trials["scan"], &trials["churn"]);
    writeln!(
        text,
        "\nLost: connections in {} simulated failovers each. Replication: its share of all bytes, of {}. The firewall was \
         scanned with {} unsolicited packets among {} connections, through {} failures: {} passed, {} records were made, {} \
         connections were harmed. The balancer's backends changed {} times under {} connections, with {} failures: {} moved.",
        number(&of(trials, "nat")["failovers"]["failovers"]),
        trials["trace"].as_str().unwrap_or_default(),
        number(&scan["packets"]),
        number(&scan["established"]),
        number(&scan["failures"]),
        number(&scan["passed"]),
        number(&scan["records_made"]),
        number(&scan["harmed"]),
        number(&churn["changes"]),
        number(&churn["connections"]),
        number(&churn["failovers"]),
        number(&churn["moved"]),
    )?;
    Ok(text)
}

/// Lines that are neither blank nor a comment.
fn code_lines(source: &str) -> usize {
    source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// What p4c says of a program.
fn verdict(root: &Path, program: &Path) -> anyhow::Result<&'static str> {
    let out = root.join("target").join("apps.json");
    let Ok(output) = Command::new("p4c-bm2-ss").arg(program).arg("-o").arg(out).output() else {
        return Ok("SKIPPED");
    };
    if !output.status.success() {
        bail!("p4c refuses {}:\n{}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(if output.stderr.trim_ascii().is_empty() { "no warning" } else { "warnings" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_are_no_code() {
        assert_eq!(code_lines("//! a\n\n/// b\nfn c() {\n    // d\n    e(); // f\n}\n"), 3);
    }
}
