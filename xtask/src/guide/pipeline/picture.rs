//! The picture: a packet's way from top to bottom, a row for those that come by together.

use super::stations::Station;
use crate::guide::svg::{Anchor, FAINT, INK, Svg};

const WIDTH: u32 = 960;
/// Where the packet's way runs down.
const WAY_X: u32 = 34;
/// Where a row says whom it is for.
const LABEL_X: u32 = 52;
/// Where its stations begin, and may not go beyond.
const STATIONS_X: u32 = 228;
const STATIONS_END: u32 = 890;
/// Where what goes round runs up.
const BACK_X: u32 = 928;
const STATION_HEIGHT: u32 = 28;
const ROW_GAP: u32 = 6;

const OURS: &str = "#e8f1f5";
const APPS: &str = "#fdf0d5";
const FRAME: &str = "#f8f9fa";

/// Draws the stations of ingress and egress.
pub(super) fn draw(ingress: &[Station], egress: &[Station]) -> String {
    // What is painted first lies below, so both frames are measured before anything is drawn.
    let (top, between) = (64, 40);
    let ingress_end = top + height(ingress);
    let egress_top = ingress_end + between;
    let egress_end = egress_top + height(egress);
    let end = egress_end + 30;
    let mut svg = Svg::new(WIDTH);
    for (title, from, to) in [("ingress", top, ingress_end), ("egress", egress_top, egress_end)] {
        svg.block((16, from), (STATIONS_END + 4, to - from), FRAME, false);
        svg.text((LABEL_X, from + 20), Anchor::Start, 13, FAINT, title);
    }
    ends(&mut svg, end);
    rows(&mut svg, ingress, top + 30);
    let back = rows(&mut svg, egress, egress_top + 30);
    svg.way(&[back, (BACK_X, back.1), (BACK_X, 38), (WAY_X - 18 + width("parser"), 38)], true);
    svg.text(
        (BACK_X - 8, 28),
        Anchor::End,
        12,
        FAINT,
        "once more: recirculated packets, packets that came back, copies",
    );
    legend(&mut svg, end + 36);
    svg.finish(end + 68, "The stations of the pipeline, in the order in which a packet comes by")
}

/// Parser and deparser, and the way between them.
fn ends(svg: &mut Svg, end: u32) {
    svg.way(&[(WAY_X, 8), (WAY_X, end)], true);
    station(svg, (WAY_X - 18, 24), "parser", OURS, false);
    station(svg, (WAY_X - 18, end), "deparser", OURS, false);
    svg.way(&[(WAY_X - 18 + width("deparser"), end + 14), (150, end + 14)], true);
    svg.text(
        (158, end + 18),
        Anchor::Start,
        13,
        INK,
        "port: the packet, or a message to the store with the packet in it",
    );
}

fn legend(svg: &mut Svg, y: u32) {
    for (x, fill, text) in
        [(STATIONS_X, OURS, "the protocol's"), (STATIONS_X + 140, APPS, "the app's handler")]
    {
        svg.block((x, y + 6), (16, 12), fill, false);
        svg.text((x + 22, y + 16), Anchor::Start, 12, FAINT, text);
    }
}

/// Stations in a row that are for the same packets.
fn groups(stations: &[Station]) -> impl Iterator<Item = &[Station]> {
    stations.chunk_by(|one, next| one.when.first() == next.when.first())
}

/// The stations of a row with their places, and the row's height.
fn places(group: &[Station]) -> (Vec<(u32, u32)>, u32) {
    let (mut x, mut y) = (STATIONS_X, 0);
    let mut places = Vec::new();
    let line = STATION_HEIGHT + if group.iter().any(|station| station.when.len() > 1) { 20 } else { 8 };
    for station in group {
        if x + width(&station.name) > STATIONS_END {
            (x, y) = (STATIONS_X, y + line);
        }
        places.push((x, y));
        x += width(&station.name) + 18;
    }
    (places, y + line)
}

fn height(stations: &[Station]) -> u32 {
    30 + groups(stations).map(|group| places(group).1 + ROW_GAP).sum::<u32>()
}

/// Draws the rows from `y` on. Gives the right end of the last station.
fn rows(svg: &mut Svg, stations: &[Station], mut y: u32) -> (u32, u32) {
    let mut end = (0, 0);
    for group in groups(stations) {
        let label = group[0].when.first().copied().unwrap_or("every frame");
        let middle = y + STATION_HEIGHT / 2;
        svg.text((LABEL_X, middle + 5), Anchor::Start, 13, INK, label);
        let label_end = LABEL_X + letters(label) + 8;
        svg.way(&[(WAY_X, middle), (LABEL_X - 4, middle)], false);
        svg.way(&[(label_end, middle), (STATIONS_X, middle)], true);
        let (places, height) = places(group);
        let mut previous: Option<(u32, u32)> = None;
        for (one, (x, offset)) in group.iter().zip(places) {
            let at = (x, y + offset);
            if let Some(previous) = previous.filter(|previous| previous.1 == at.1 + STATION_HEIGHT / 2) {
                svg.way(&[previous, (x, previous.1)], true);
            }
            let fill = if one.is_apps { APPS } else { OURS };
            station(svg, at, &one.name, fill, one.when.len() > 1);
            if let Some(when) = one.when.get(1) {
                svg.text(
                    (x + width(&one.name) / 2, at.1 + STATION_HEIGHT + 12),
                    Anchor::Middle,
                    11,
                    FAINT,
                    when,
                );
            }
            end = (x + width(&one.name), at.1 + STATION_HEIGHT / 2);
            previous = Some(end);
        }
        y += height + ROW_GAP;
    }
    end
}

fn station(svg: &mut Svg, at: (u32, u32), name: &str, fill: &str, dashed: bool) {
    svg.block(at, (width(name), STATION_HEIGHT), fill, dashed);
    svg.text((at.0 + width(name) / 2, at.1 + 19), Anchor::Middle, 13, INK, name);
}

fn width(name: &str) -> u32 {
    letters(name) + 18
}

/// About the width of a text of 13 pixels.
fn letters(text: &str) -> u32 {
    text.chars().count() as u32 * 7
}
