//! The picture of a run: good bytes per second over virtual time, with the events marked. SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::connection::Micros;
use super::hosts::Throughput;
use super::report::Report;

const SIZE: (u32, u32) = (1000, 460);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GOOD: RGBColor = RGBColor(0x1b, 0x7f, 0x79);
const LOST: RGBColor = RGBColor(0xc0, 0x39, 0x2b);

/// Labels of events stand on this many lines in turn, each lower than the one before, so that a label lies neither
/// on another one nor on a later event's mark.
const LABEL_LINES: usize = 5;

/// About the part of the picture's width that one letter of a label takes.
const LETTER_WIDTH: f64 = 0.0074;

/// Draws the run. `throughput` is what each side found good, by time, in equal steps.
///
/// # Errors
/// When the drawing library refuses, which it does not for a picture in memory.
pub fn svg(report: &Report, throughput: &[&Throughput]) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, report, throughput).map_err(|error| anyhow!("cannot draw the picture: {error}"))?;
    Ok(text)
}

/// Megabytes per second at the middle of each step.
fn series(throughput: &[&Throughput]) -> Vec<(f64, f64)> {
    let step = throughput.iter().map(|side| side.step).max().unwrap_or(1);
    let steps = throughput.iter().map(|side| side.bytes.len()).max().unwrap_or(0);
    let total = |index: usize| throughput.iter().filter_map(|side| side.bytes.get(index)).sum::<u64>();
    let at = |index: usize| (index as Micros * step + step / 2) as f64 / 1e6;
    (0..steps).map(|index| (at(index), total(index) as f64 / step as f64)).collect()
}

fn draw(
    text: &mut String,
    report: &Report,
    throughput: &[&Throughput],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = series(throughput);
    let seconds = (report.duration_ms as f64 / 1e3).max(0.1);
    let highest = points.iter().map(|point| point.1).fold(0.1, f64::max);
    // Room above the line for the labels.
    let top = highest * 1.45;

    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let style = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let replication = if report.replication { "replicated state" } else { "no replication" };
    let connections = report.connections;
    let caption = format!(
        "{}, {replication}: {} of {} connections completed, {} reset",
        report.app, connections.completed, connections.opened, connections.reset
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, style(20))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..seconds, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK.mix(0.6))
        .label_style(style(13))
        .axis_desc_style(style(14))
        .x_desc("virtual time, s")
        .y_desc("verified payload, MB/s")
        .x_labels(12)
        .y_labels(8)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    chart.draw_series(AreaSeries::new(points, 0.0, GOOD.mix(0.25)).border_style(GOOD.stroke_width(2)))?;

    let mark = ShapeStyle { color: LOST.mix(0.8), filled: false, stroke_width: 1 };
    for (index, event) in report.events.iter().enumerate() {
        let at = event.at_ms as f64 / 1e3;
        let at_the_edge = at / seconds + LETTER_WIDTH * event.what.len() as f64 > 1.0;
        // A label that stands left of its mark would lie on the earlier ones, were it not above them.
        let line = if at_the_edge { 0 } else { index % LABEL_LINES };
        let height = top * (0.98 - 0.06 * line as f64);
        chart.draw_series(DashedLineSeries::new([(at, 0.0), (at, height)], 4, 3, mark))?;
        let anchor = Pos::new(if at_the_edge { HPos::Right } else { HPos::Left }, VPos::Top);
        let label = ("sans-serif", 13).into_font().color(&LOST).pos(anchor);
        let beside = if at_the_edge { at - seconds * 0.006 } else { at + seconds * 0.006 };
        chart.draw_series([Text::new(event.what.clone(), (beside, height), label)])?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::report::{Event, Outage, Packets};
    use super::*;

    fn sample() -> (Report, Throughput) {
        let event = |at_ms, what: &str| Event { at_ms, what: what.into() };
        let report = Report {
            app: "nat",
            replication: true,
            seed: 1,
            duration_ms: 8_000,
            connections: super::super::report::Connections::default(),
            bytes: super::super::report::Bytes::default(),
            packets: Packets::default(),
            unsolicited: None,
            moved: None,
            outage_ms: Outage::default(),
            events: vec![
                event(2_500, "switch 1 fails"),
                event(4_500, "switch 1 returns, empty"),
                event(5_500, "store node 0 (head) fails"),
                event(6_500, "store node 0 joins as tail"),
            ],
        };
        let bytes = (0..160).map(|i| if (50..70).contains(&i) { 400_000 } else { 1_200_000 }).collect();
        (report, Throughput { step: 50_000, bytes })
    }

    #[test]
    fn the_picture_is_an_svg_that_names_the_events_and_is_the_same_each_time() {
        let (report, throughput) = sample();
        let picture = svg(&report, &[&throughput]).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        for event in &report.events {
            assert!(picture.contains(&event.what), "{}", event.what);
        }
        assert_eq!(picture, svg(&report, &[&throughput]).unwrap());
    }
}
