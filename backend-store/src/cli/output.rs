//! What people see: complaints on standard error, tables on standard output.

use std::env;
use std::io::{self, IsTerminal, Write};

use super::Failure;

/// Whether standard error may be coloured: it is a terminal and nobody set `NO_COLOR`.
pub(super) fn colors() -> bool {
    let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !forbidden
}

/// Says why a command failed.
pub(super) fn complain(failure: &Failure) {
    let text = match failure {
        Failure::Config(error) => error.render(colors()),
        other => format!("redplane-store: {other}\n"),
    };
    // There is nowhere to complain about a standard error that is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A table in columns as wide as their widest cell; the first row is the head. Numbers are aligned right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number = |column: usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some()
            && cells.all(|cell| cell.chars().all(|letter| letter.is_ascii_digit() || letter == '-'))
    };
    let numbers: Vec<bool> = (0..columns).map(is_number).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if numbers[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Writes an answer.
pub(super) fn answer(text: &str) -> Result<(), Failure> {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Writes an answer as JSON for people and programs.
pub(super) fn answer_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    answer(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text =
            table(&[row(["node", "role", "records"]), row(["0", "head", "12"]), row(["10", "tail", "-"])]);
        assert_eq!(text, "node  role  records\n   0  head       12\n  10  tail        -\n");
        assert_eq!(table(&[]), "");
    }
}
