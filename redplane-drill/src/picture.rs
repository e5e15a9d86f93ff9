//! The outages as a picture: for each system, which share of the failures was over by when.

use anyhow::anyhow;
use plotters::prelude::*;

use crate::drill::Report;

const SIZE: (u32, u32) = (900, 420);

/// An SVG.
///
/// # Errors
/// If it cannot be drawn.
pub(crate) fn outages(reports: &[Report]) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw(reports, &mut svg).map_err(|error| anyhow!("the picture cannot be drawn: {error}"))?;
    Ok(svg)
}

fn draw(reports: &[Report], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let most = reports.iter().flat_map(|report| &report.probe_outages_ms).copied().fold(10.0, f64::max);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..most * 1.05, 0.0..100.0)?;
    chart.configure_mesh().x_desc("outage, ms").y_desc("% of the failures").draw()?;
    for (index, report) in reports.iter().enumerate() {
        let mut outages = report.probe_outages_ms.clone();
        outages.sort_by(f64::total_cmp);
        let count = outages.len() as f64;
        let mut points = vec![(0.0, 0.0)];
        for (rank, outage) in outages.iter().enumerate() {
            points.push((*outage, 100.0 * rank as f64 / count));
            points.push((*outage, 100.0 * (rank + 1) as f64 / count));
        }
        points.push((most * 1.05, 100.0));
        let color = Palette99::pick(index).stroke_width(2);
        let label = format!("{}, {}: {} connections broken", report.system, report.blow, report.broken);
        let line = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], color);
        chart.draw_series(LineSeries::new(points, color))?.label(label).legend(line);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
