//! The figures of a simulation: what its server got, and what that meant for the requests.

use std::{fs, ops::Range, path::Path};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use tower_upstream::BoxError;

use crate::{
    sims::{Chart, Simulation},
    trace::{Trace, quantile},
};

/// Those of Okabe and Ito, which nearly all eyes can tell apart, and two more.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(148, 148, 148),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(120, 94, 240),
];
const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// Policies in a row of the legend.
const LEGENDS: usize = 4;

struct Line {
    policy: &'static str,
    style: ShapeStyle,
    points: Vec<(f64, f64)>,
}

struct Axes {
    title: &'static str,
    x: Range<f64>,
    tell_x: fn(f64) -> String,
}

/// Draws both charts into one file in `folder`, which is made if it is missing.
pub(crate) fn draw(
    simulation: &Simulation,
    traces: &[(&'static str, Trace)],
    folder: &Path,
) -> Result<(), BoxError> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("sim-{}.svg", simulation.number));
    let area = SVGBackend::new(&path, (960, 800)).into_drawing_area();
    area.fill(&WHITE)?;
    let (number, title, server) = (simulation.number, simulation.title, simulation.server);
    let area = area.titled(&format!("Simulation {number}: {title}"), (FONT, 22))?;
    // What is judged comes last, and so lies above the others.
    let is_judged = |(name, _): &&(&'static str, Trace)| *name == simulation.judged;
    let (judged, others): (Vec<_>, Vec<_>) = traces.iter().partition(is_judged);
    let styles = COLORS.iter().cycle().map(|color| color.stroke_width(1)).take(others.len());
    let styles: Vec<_> = styles.chain([VERMILION.stroke_width(3)]).collect();
    let lines =
        |points: &dyn Fn(&Trace) -> Vec<(f64, f64)>| -> Vec<Line> {
            let traces = others.iter().chain(&judged).zip(&styles);
            let line = |(&&(policy, ref trace), &style): (&&(&'static str, Trace), &ShapeStyle)| {
                Line { policy, style, points: points(trace) }
            };
            traces.map(line).collect()
        };
    let length = traces.first().map_or(0.0, |(_, trace)| trace.scenario.length.as_secs_f64());
    let over_time = |title| Axes { title, x: 0.0..length, tell_x: |x| format!("{x} s") };
    let shares = lines(&|trace| share(trace, server, length));
    let (head, charts) = area.split_vertically(12 + 20 * shares.len().div_ceil(LEGENDS) as u32);
    legend(&head, &shares)?;
    let (above, below) = charts.split_vertically(charts.dim_in_pixel().1 / 2);
    plot(&above, &over_time("Share of that server; 1: as much as any"), &shares)?;
    let (axes, lines) = match simulation.chart {
        Chart::Latency => {
            let title = "Latency by percentile over the whole run, in ms";
            let axes = Axes { title, x: 0.0..NINES, tell_x: percentile };
            (axes, lines(&latencies))
        }
        Chart::Failed => {
            (over_time("Failed requests so far"), lines(&|trace| failed(trace, length)))
        }
        Chart::Batches => {
            let title = "The slowest batch but one in a hundred of each second, in ms";
            (over_time(title), lines(&|trace| batches(trace, length)))
        }
        Chart::InFlight => {
            let lines = lines(&|trace| in_flight(trace, server, length));
            (over_time("Requests that the server has"), lines)
        }
    };
    plot(&below, &axes, &lines)?;
    area.present()?;
    Ok(())
}

const FONT: &str = "sans-serif";
/// As far as the percentiles go: 4 is 99.99.
const NINES: f64 = 4.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn plot(area: &Area<'_>, axes: &Axes, lines: &[Line]) -> Result<(), BoxError> {
    let ys = lines.iter().flat_map(|line| line.points.iter().map(|&(_, y)| y));
    let most = ys.fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(axes.title, (FONT, 16))
        .margin(12)
        .margin_right(36)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(axes.x.clone(), 0.0..most * 1.05)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .label_style((FONT, 13))
        .x_labels(8)
        .y_labels(7)
        .x_label_formatter(&|&x| (axes.tell_x)(x))
        .y_label_formatter(&|&y| plain(y))
        .draw()?;
    for line in lines {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), line.style))?;
    }
    Ok(())
}

/// Which line is that of which policy: one legend for both charts.
fn legend(area: &Area<'_>, lines: &[Line]) -> Result<(), BoxError> {
    for (number, line) in lines.iter().enumerate() {
        let (row, column) = (number / LEGENDS, number % LEGENDS);
        let (x, y) = (76 + 215 * column as i32, 14 + 20 * row as i32);
        area.draw(&PathElement::new([(x, y), (x + 24, y)], line.style))?;
        let position = Pos::new(HPos::Left, VPos::Center);
        let font = (FONT, 15).into_text_style(area).pos(position);
        area.draw(&Text::new(line.policy, (x + 32, y), font))?;
    }
    Ok(())
}

/// For each second.
fn share(trace: &Trace, server: usize, length: f64) -> Vec<(f64, f64)> {
    let share = |from: f64| (from + 0.5, trace.share_of(server, from..from + 1.0));
    seconds(length).map(share).collect()
}

fn latencies(trace: &Trace) -> Vec<(f64, f64)> {
    let sorted = trace.latencies(0.0..f64::MAX);
    let of = |nines: f64| quantile(&sorted, 1.0 - 10_f64.powf(-nines));
    let point = |nines: f64| (nines, of(nines).as_secs_f64() * 1e3);
    (0..=(NINES * 50.0) as u32).map(|step| point(f64::from(step) / 50.0)).collect()
}

fn failed(trace: &Trace, length: f64) -> Vec<(f64, f64)> {
    let mut so_far = 0;
    let mut until = |second: f64| {
        so_far += trace.failed(second..second + 1.0);
        (second + 1.0, so_far as f64)
    };
    seconds(length).map(&mut until).collect()
}

/// The 99th percentile of each second.
fn batches(trace: &Trace, length: f64) -> Vec<(f64, f64)> {
    let slowest = |from: f64| {
        let took = trace.batches(from..from + 1.0).into_iter().map(|(took, _)| took);
        (from + 0.5, quantile(&took.collect::<Vec<_>>(), 0.99).as_secs_f64() * 1e3)
    };
    seconds(length).map(slowest).collect()
}

/// The most in each tenth of a second.
fn in_flight(trace: &Trace, server: usize, length: f64) -> Vec<(f64, f64)> {
    let mut most = vec![0_i64; (length * 10.0) as usize];
    let (mut last, mut count) = (0, 0);
    for (at, after) in trace.in_flight(server) {
        let tenth = (at.as_secs_f64() * 10.0) as usize;
        // It stays what it was until something changes.
        let unchanged = most.get_mut(last + 1..=tenth).into_iter().flatten();
        unchanged.for_each(|most| *most = count);
        if let Some(most) = most.get_mut(tenth) {
            *most = (*most).max(after);
        }
        (last, count) = (tenth, after);
    }
    (0..).zip(most).map(|(tenth, most)| (f64::from(tenth) / 10.0, most as f64)).collect()
}

fn seconds(length: f64) -> impl Iterator<Item = f64> {
    (0..length as u32).map(f64::from)
}

fn plain(y: f64) -> String {
    // Not `0.30000000000000004`.
    format!("{}", (y * 1e3).round() / 1e3)
}

fn percentile(nines: f64) -> String {
    plain(100.0 - 10_f64.powf(2.0 - nines)) + " %"
}
