//! The chart: images a second, and where a worker's time goes.

use std::fmt::Write as _;
use std::path::Path;

use super::settings::Settings;
use super::{Epoch, Error, Stages};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 40.0;
const BAR: f64 = 26.0;
/// Of the stages, in their order; told apart by people who do not see red from green as well (Okabe and Ito).
const COLORS: [&str; 6] = ["#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#999999"];

pub(super) fn write(path: &Path, settings: &Settings, epochs: &[Epoch]) -> Result<(), Error> {
    let fastest = epochs.iter().map(Epoch::images_per_second).fold(0.0, f64::max);
    let stages: Vec<Stages> = epochs.iter().filter_map(Stages::of).collect();
    let slowest = stages.iter().map(Stages::total).fold(0.0, f64::max);
    let room = WIDTH - LEFT - RIGHT - 60.0;

    let mut body = String::new();
    let mut y = 58.0;
    heading(&mut body, y, "images a second")?;
    for (number, epoch) in epochs.iter().enumerate() {
        y += BAR + 8.0;
        let length = epoch.images_per_second() / fastest * room;
        label(&mut body, y, &format!("epoch {number}"))?;
        bar(&mut body, LEFT, y, length, "#0072b2")?;
        value(&mut body, LEFT + length + 8.0, y, &format!("{:.0}", epoch.images_per_second()))?;
    }
    y += BAR + 40.0;
    heading(&mut body, y, "a worker's microseconds for an image")?;
    for (number, stages) in stages.iter().enumerate() {
        y += BAR + 8.0;
        label(&mut body, y, &format!("epoch {number}"))?;
        let mut x = LEFT;
        for ((_, micros), color) in stages.0.iter().zip(COLORS) {
            let length = micros / slowest * room;
            bar(&mut body, x, y, length, color)?;
            x += length;
        }
        value(&mut body, x + 8.0, y, &format!("{:.0}", stages.total()))?;
    }
    y += BAR + 24.0;
    let mut x = LEFT;
    for ((name, _), color) in Stages::default().0.iter().zip(COLORS) {
        writeln!(body, r#"<rect x="{x:.1}" y="{:.1}" width="12" height="12" fill="{color}"/>"#, y - 11.0)?;
        writeln!(body, r#"<text x="{:.1}" y="{y:.1}">{name}</text>"#, x + 18.0)?;
        x += 38.0 + 7.2 * name.len() as f64;
    }
    let height = y + 24.0;
    let title = format!(
        "{}, {}{}: {} workers, batches of {}, {} pixels, {} images",
        settings.mode_name(),
        settings.decoder_name(),
        if settings.scaled { ", scaled" } else { "" },
        settings.workers,
        settings.batch_size,
        settings.size,
        epochs.first().map_or(0, |epoch| epoch.images)
    );
    let svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}"
     font-family="system-ui, sans-serif" font-size="13" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="20" y="28" font-size="15" font-weight="600">{title}</text>
{body}</svg>
"##
    );
    Ok(std::fs::write(path, svg)?)
}

fn heading(out: &mut String, y: f64, text: &str) -> std::fmt::Result {
    writeln!(out, r##"<text x="20" y="{y:.1}" fill="#555">{text}</text>"##)
}

fn label(out: &mut String, y: f64, text: &str) -> std::fmt::Result {
    writeln!(out, r#"<text x="{:.1}" y="{y:.1}" text-anchor="end">{text}</text>"#, LEFT - 12.0)
}

fn bar(out: &mut String, x: f64, y: f64, length: f64, color: &str) -> std::fmt::Result {
    let top = y - BAR * 0.67;
    writeln!(out, r#"<rect x="{x:.1}" y="{top:.1}" width="{length:.1}" height="{BAR}" fill="{color}"/>"#)
}

fn value(out: &mut String, x: f64, y: f64, text: &str) -> std::fmt::Result {
    writeln!(out, r#"<text x="{x:.1}" y="{y:.1}">{text}</text>"#)
}
