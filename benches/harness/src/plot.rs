//! Line charts as SVG, with a logarithmic scale.

use std::fmt::Write as _;

/// One chart of several.
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The places on the horizontal axis.
    pub places: Vec<String>,
    /// The lines.
    pub series: Vec<Series>,
}

/// One line: a figure for each place, where there is one.
pub struct Series {
    /// Its name in the legend, the same in each panel.
    pub name: String,
    /// The figures, above zero.
    pub values: Vec<Option<f64>>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const MARGIN: f64 = 44.0;
const COLUMNS: usize = 2;
const LEGEND_HEIGHT: f64 = 60.0;
const COLOURS: [&str; 12] = [
    "#d62728", "#000000", "#999999", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf",
    "#bcbd22", "#7f7f7f",
];

/// The panels side by side under one legend. The first series stands out.
pub fn plot(title: &str, panels: &[Panel]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        if !names.contains(&series.name.as_str()) {
            names.push(&series.name);
        }
    }
    let colour = |name: &str| COLOURS[names.iter().position(|other| *other == name).unwrap_or(0) % COLOURS.len()];
    let width = WIDTH * COLUMNS as f64;
    let height = LEGEND_HEIGHT + HEIGHT * panels.len().div_ceil(COLUMNS) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"12\" y=\"18\" font-size=\"14\">{title}</text>\n"
    );
    for (i, name) in names.iter().enumerate() {
        let (x, y) = (12.0 + 150.0 * (i % 6) as f64, 36.0 + 16.0 * (i / 6) as f64);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            y - 4.0,
            colour(name),
            x + 19.0,
            y + 1.0
        );
    }
    for (i, panel) in panels.iter().enumerate() {
        let (left, top) = (WIDTH * (i % COLUMNS) as f64, LEGEND_HEIGHT + HEIGHT * (i / COLUMNS) as f64);
        draw(&mut svg, panel, left, top, colour, names.first().copied());
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw<'c>(
    svg: &mut String,
    panel: &Panel,
    left: f64,
    top: f64,
    colour: impl Fn(&str) -> &'c str,
    first: Option<&str>,
) {
    let values = || panel.series.iter().flat_map(|series| series.values.iter().flatten());
    let low = values().fold(f64::INFINITY, |low, &value| low.min(value)).log10().floor();
    let high = values().fold(0.0_f64, |high, &value| high.max(value)).log10().ceil();
    let x =
        |place: usize| left + MARGIN + (WIDTH - 2.0 * MARGIN) * place as f64 / (panel.places.len().max(2) - 1) as f64;
    let y =
        |value: f64| top + HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * (value.log10() - low) / (high - low).max(1.0);
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" font-size=\"12\">{}</text>", left + MARGIN, top + 26.0, panel.title);
    for power in low as i32..=high as i32 {
        let (at, label) = (y(10_f64.powi(power)), 10_f64.powi(power));
        let _ = writeln!(
            svg,
            "<path d=\"M{} {at}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
            left + MARGIN,
            left + WIDTH - MARGIN,
            left + MARGIN - 5.0,
            at + 4.0
        );
    }
    for (place, label) in panel.places.iter().enumerate() {
        let (x, y) = (x(place), top + HEIGHT - MARGIN + 18.0);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
    }
    // The first series last, above the others.
    for series in panel.series.iter().rev() {
        let points: Vec<String> = (0..)
            .zip(&series.values)
            .filter_map(|(place, value)| value.map(|value| format!("{:.1},{:.1}", x(place), y(value))))
            .collect();
        let width = if first == Some(series.name.as_str()) { 3.0 } else { 1.5 };
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" points=\"{}\"/>",
            colour(&series.name),
            points.join(" ")
        );
    }
}
