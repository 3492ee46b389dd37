//! Curves as SVG: percentiles of a run, its course, and throughput against latency of a sweep.

use std::path::Path;

use hdrhistogram::Histogram;
use plotters::prelude::*;

const SIZE_PIXELS: (u32, u32) = (960, 540);
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
];
/// Number of nines at the right end of a percentile curve.
const NINES_MAX: f64 = 6.0;
/// Points of a percentile curve.
const POINTS: u32 = 300;

/// One curve.
#[derive(Debug)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// Titles of a chart.
#[derive(Debug)]
pub struct Titles<'a> {
    /// Above it.
    pub chart: &'a str,
    /// Below it.
    pub x: &'a str,
    /// At its left.
    pub y: &'a str,
}

/// Draws the percentiles of a histogram of nanoseconds, with the nines of the percentile as the x axis.
pub fn percentiles(path: &Path, title: &str, curves: &[(String, &Histogram<u64>)]) -> Result<(), String> {
    let curve = |(name, histogram): &(String, &Histogram<u64>)| {
        // No percentile is shown that rests on fewer than one value.
        let nines_max = (histogram.len().max(10) as f64).log10().min(NINES_MAX);
        let point = |step: u32| {
            let nines = nines_max * f64::from(step) / f64::from(POINTS);
            let nanos = histogram.value_at_quantile(1.0 - 10f64.powf(-nines));
            (nines, (nanos as f64 / 1e6).max(1e-4))
        };
        Curve {
            name: name.clone(),
            points: (0..=POINTS).map(point).collect(),
        }
    };
    let curves: Vec<Curve> = curves.iter().map(curve).collect();
    let titles = Titles {
        chart: title,
        x: "percentile",
        y: "latency in ms",
    };
    let label = |nines: &f64| match (nines * 10.0).round() as i32 {
        0 => "0".to_string(),
        10 => "90".into(),
        20 => "99".into(),
        tenths if tenths % 10 == 0 => format!("99.{}", "9".repeat(tenths as usize / 10 - 2)),
        _ => String::new(),
    };
    draw(path, &titles, &curves, &label)
}

/// Draws curves over a linear x axis of rates or seconds.
pub fn lines(path: &Path, titles: &Titles, curves: &[Curve]) -> Result<(), String> {
    draw(path, titles, curves, &|x: &f64| match *x {
        x if x.abs() >= 1e6 => format!("{:.2} M", x / 1e6),
        x if x.abs() >= 1e4 => format!("{:.0} k", x / 1e3),
        x if x.fract().abs() > 0.01 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    })
}

/// Draws with a logarithmic y axis.
fn draw(
    path: &Path,
    titles: &Titles,
    curves: &[Curve],
    label: &dyn Fn(&f64) -> String,
) -> Result<(), String> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    if points().next().is_none() {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let x_max = points().map(|point| point.0).fold(1e-9, f64::max);
    let y_min = points().map(|point| point.1).fold(f64::MAX, f64::min).max(1e-4);
    let y_max = points().map(|point| point.1).fold(y_min * 2.0, f64::max);
    let area = SVGBackend::new(path, SIZE_PIXELS).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(titles.chart, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..x_max * 1.02, (y_min * 0.8..y_max * 1.3).log_scale())
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .x_desc(titles.x)
        .y_desc(titles.y)
        .x_label_formatter(label)
        .y_label_formatter(&|y| y.to_string())
        .draw()
        .map_err(|error| failed(&error))?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let series = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(series)
            .map_err(|error| failed(&error))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{histogram, record};

    #[test]
    fn a_percentile_curve_has_its_titles_and_a_line() {
        let mut latencies = histogram();
        (1..=10_000).for_each(|micros| record(&mut latencies, micros * 1000, 1));
        let path = std::env::temp_dir().join(format!("ticklane-load-chart-{}.svg", std::process::id()));
        percentiles(&path, "a title", &[("set".into(), &latencies)]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for part in ["<svg", "a title", "latency in ms", "99.9", "<polyline"] {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn nothing_measured_draws_nothing() {
        let path = std::env::temp_dir().join("ticklane-load-no-chart.svg");
        lines(
            &path,
            &Titles {
                chart: "",
                x: "",
                y: "",
            },
            &[],
        )
        .unwrap();
        assert!(!path.exists());
    }
}
