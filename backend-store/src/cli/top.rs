//! `top`: a cluster at work.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};

use super::client::{Answer, Client, NodesArgument};
use super::output::{answer, table};
use super::status::{chain, findings};
use super::{Failure, Outcome};

/// How often nodes are asked: rates are read by people, and every question costs a worker some time.
const INTERVAL: Duration = Duration::from_secs(1);

const HEAD: [&str; 9] =
    ["node", "shard", "role", "chain", "records", "waiting", "requests/s", "acks/s", "drops/s"];

/// Counters of one replica at one moment.
#[derive(Clone, Copy, Default)]
struct Counts {
    requests: u64,
    acks: u64,
    drops: u64,
}

/// What all nodes said at one moment.
struct Sample {
    at: Instant,
    answers: Vec<Answer>,
}

impl Sample {
    fn take(client: &Client) -> Self {
        let at = Instant::now();
        Self { at, answers: client.statuses() }
    }

    fn counts(&self) -> BTreeMap<(u16, u16), Counts> {
        let mut counts = BTreeMap::new();
        for status in self.answers.iter().filter_map(|answer| answer.status.as_ref().ok()) {
            for shard in &status.shards {
                let protocol = &shard.protocol;
                let drops = protocol.dropped.values().chain(shard.network.gate_drops.values()).sum();
                let requests = protocol.requests.values().sum();
                counts.insert((status.node, shard.shard), Counts { requests, acks: protocol.acks, drops });
            }
        }
        counts
    }

    /// A row for each replica, with rates since `before`.
    fn rows(&self, before: &Self) -> Vec<Vec<String>> {
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64().max(0.001);
        let (now, before) = (self.counts(), before.counts());
        let mut rows = Vec::new();
        for status in self.answers.iter().filter_map(|answer| answer.status.as_ref().ok()) {
            for shard in &status.shards {
                let place = (status.node, shard.shard);
                let now = now.get(&place).copied().unwrap_or_default();
                // A node that was not there before, or started again, has no rate yet.
                let rate = |count: fn(&Counts) -> u64| match before.get(&place) {
                    Some(before) if count(before) <= count(&now) => {
                        ((count(&now) - count(before)) as f64 / seconds).round().to_string()
                    }
                    _ => "-".to_owned(),
                };
                rows.push(vec![
                    status.node.to_string(),
                    shard.shard.to_string(),
                    shard.role.name().to_owned(),
                    chain(shard),
                    shard.protocol.records.to_string(),
                    shard.protocol.queued.to_string(),
                    rate(|counts| counts.requests),
                    rate(|counts| counts.acks),
                    rate(|counts| counts.drops),
                ]);
            }
        }
        rows
    }
}

/// Watches a cluster until `q`; or once, as plain text.
pub(super) fn run(nodes: &NodesArgument, once: bool) -> Result<Outcome, Failure> {
    let client = Client::new(nodes)?;
    let before = Sample::take(&client);
    if once || !io::stdout().is_terminal() {
        thread::sleep(INTERVAL.saturating_sub(before.at.elapsed()));
        let now = Sample::take(&client);
        let head = HEAD.map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = [head].into_iter().chain(now.rows(&before)).collect();
        let findings = findings(&now.answers);
        let lines: String = findings.iter().map(|finding| format!("! {finding}\n")).collect();
        answer(&format!("{}{lines}", table(&rows)))?;
        return Ok(if findings.is_empty() { Outcome::Well } else { Outcome::Finding });
    }
    ratatui::run(|terminal| watch(terminal, &client, before))?;
    Ok(Outcome::Well)
}

fn watch(terminal: &mut DefaultTerminal, client: &Client, mut before: Sample) -> io::Result<()> {
    let mut rows = before.rows(&before);
    let mut wrong = findings(&before.answers);
    loop {
        terminal.draw(|frame| draw(frame, &rows, &wrong))?;
        while let Some(left) = INTERVAL.checked_sub(before.at.elapsed()).filter(|left| !left.is_zero()) {
            if event::poll(left)? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        let control = key.modifiers.contains(KeyModifiers::CONTROL);
                        match key.code {
                            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                            KeyCode::Char('c') if control => return Ok(()),
                            _ => {}
                        }
                    }
                    _ => {
                        terminal.draw(|frame| draw(frame, &rows, &wrong))?;
                    }
                }
            }
        }
        let now = Sample::take(client);
        rows = now.rows(&before);
        wrong = findings(&now.answers);
        before = now;
    }
}

fn draw(frame: &mut Frame<'_>, rows: &[Vec<String>], findings: &[String]) {
    let below = findings.len().clamp(1, usize::from(frame.area().height / 3).max(1)) as u16;
    let [title, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(2), Constraint::Length(below)])
            .areas(frame.area());
    frame.render_widget(Line::from("redplane-store top: q leaves").dim(), title);
    let widths = [4, 5, 8, 16, 10, 8, 11, 11, 8].map(Constraint::Length);
    let cells = rows.iter().map(|row| Row::new(row.clone()));
    let table = Table::new(cells, widths).header(Row::new(HEAD).style(Style::new().bold())).column_spacing(1);
    frame.render_widget(table, body);
    let lines: Vec<Line<'_>> = if findings.is_empty() {
        vec![Line::from("all is well")]
    } else {
        findings.iter().map(|finding| Line::from(format!("! {finding}")).bold()).collect()
    };
    frame.render_widget(Paragraph::new(lines), foot);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_screen_shows_replicas_and_what_is_wrong() {
        let mut terminal = Terminal::new(TestBackend::new(90, 6)).expect("a test has a terminal");
        let row = ["0", "1", "head", "0>1", "12", "0", "900", "450", "0"].map(str::to_owned).to_vec();
        let draw = |frame: &mut Frame<'_>| {
            draw(frame, std::slice::from_ref(&row), &["node 2 does not answer".to_owned()]);
        };
        terminal.draw(draw).expect("a test has a terminal");
        let text = terminal.backend().to_string();
        assert!(text.contains("requests/s") && text.contains("0>1") && text.contains("900"), "{text}");
        assert!(text.contains("! node 2 does not answer"), "{text}");
        let mut tiny = Terminal::new(TestBackend::new(1, 1)).expect("a test has a terminal");
        tiny.draw(|frame| super::draw(frame, &[], &[])).expect("no size is too small");
    }
}
