//! Plots of the results. The plot of a group of rows shows throughput over the number of threads,
//! with a line for each contestant.
//!
//! The plots have no background. Their grey is readable on light and on dark pages.

use crate::report::{Entry, Report};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (760, 420);
const INK: RGBColor = RGBColor(128, 128, 128);
/// Colours that differ in hue and lightness and are visible on white and on black.
const COLOURS: [RGBColor; 12] = [
    RGBColor(230, 90, 30),
    RGBColor(245, 160, 60),
    RGBColor(60, 130, 220),
    RGBColor(110, 175, 240),
    RGBColor(50, 160, 90),
    RGBColor(150, 110, 210),
    RGBColor(200, 90, 150),
    RGBColor(160, 140, 60),
    RGBColor(70, 170, 180),
    RGBColor(140, 110, 100),
    RGBColor(130, 190, 60),
    RGBColor(110, 120, 140),
];

/// Draws a plot for each group that has more than one row. A row's group is the part of its name
/// before the slash.
pub fn draw(rows: &[Report], folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut groups: Vec<(&str, Vec<&Report>)> = Vec::new();
    for row in rows {
        let group = row.name.split('/').next().unwrap_or_default();
        match groups.last_mut() {
            Some((name, rows)) if *name == group => rows.push(row),
            _ => groups.push((group, vec![row])),
        }
    }
    for (name, rows) in groups.iter().filter(|(_, rows)| rows.len() > 1) {
        picture(name, rows, &folder.join(format!("{name}.svg")))?;
    }
    Ok(())
}

fn picture(name: &str, rows: &[&Report], path: &Path) -> Result<(), Box<dyn Error>> {
    let ink = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let values = || rows.iter().flat_map(|row| &row.entries).map(megas);
    let low = values().fold(f64::INFINITY, f64::min) * 0.7;
    let high = values().fold(0.0, f64::max) * 1.5;
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    // The names of the lines stand to their right.
    let (left, right) = root.split_horizontally(SIZE.0 - 180);
    let last = rows.len() as f64 - 1.0;
    let mut chart = ChartBuilder::on(&left)
        .caption(rows[0].question, ink(14))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.15..last + 0.15, (low..high).log_scale())?;
    let label = |x: &f64| {
        let near = (x - x.round()).abs() < 0.01 && *x >= 0.0;
        let row = near.then(|| rows.get(x.round() as usize)).flatten();
        row.and_then(|row| row.name.split('/').nth(1).map(str::to_owned))
            .unwrap_or_default()
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.25))
        .axis_style(INK)
        .x_labels(rows.len() * 2)
        .x_label_formatter(&label)
        .x_desc(axis(name))
        .y_label_formatter(&|y| ((y * 1e3).round() / 1e3).to_string())
        .y_desc("million a second (log)")
        .label_style(ink(12))
        .draw()?;
    let ours = rows[0].entries.iter().filter(|e| e.ours).count();
    for (i, entry) in rows[0].entries.iter().enumerate() {
        // captor has the first two colours, even if only one contestant is captor's.
        let chosen = if entry.ours { i } else { i - ours + 2 };
        let colour = COLOURS[chosen % COLOURS.len()];
        let style = colour.stroke_width(if entry.ours { 3 } else { 1 });
        let points: Vec<(f64, f64)> = rows
            .iter()
            .enumerate()
            .filter_map(|(x, row)| Some((x as f64, megas(find(row, entry.contestant)?))))
            .collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        chart.draw_series(points.iter().map(|&p| Circle::new(p, 3, colour.filled())))?;
        let y = 40 + 18 * i as i32;
        right.draw(&Rectangle::new([(4, y - 2), (20, y + 2)], colour.filled()))?;
        let text = ink(13).pos(Pos::new(HPos::Left, VPos::Center));
        right.draw(&Text::new(entry.contestant, (26, y), text))?;
    }
    root.present()?;
    Ok(())
}

/// Returns the parameter in which the rows of a group differ.
fn axis(group: &str) -> &'static str {
    match group {
        "idle" => "called from",
        "zipf" => "resources",
        _ => "threads",
    }
}

fn megas(entry: &Entry) -> f64 {
    entry.rate.median * 1e-6
}

fn find<'a>(row: &'a Report, contestant: &str) -> Option<&'a Entry> {
    row.entries.iter().find(|e| e.contestant == contestant)
}
