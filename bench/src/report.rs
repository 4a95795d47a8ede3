//! What many runs add up to: a table and plots. Runs of one scenario by one server in one dialect belong together; of
//! their figures the median counts, and how far they lie apart.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::Value;

use crate::figures::quantile;

/// Prints the results of bench/compare as a table
#[derive(Args)]
pub(crate) struct Table {
    /// Files with lines of JSON
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Draws the results of bench/compare
#[derive(Args)]
pub(crate) struct Plot {
    /// Files with lines of JSON
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The folder for the pictures
    #[arg(long, default_value = "bench/plots")]
    out: PathBuf,
}

/// A figure that is compared.
struct Figure {
    scenario: &'static str,
    field: &'static str,
    title: &'static str,
}

const FIGURES: &[Figure] = &[
    Figure { scenario: "fan100", field: "server_cpu_us_per_delivery", title: "fan100, CPU µs per delivery" },
    Figure {
        scenario: "fan1000",
        field: "server_cpu_us_per_delivery",
        title: "fan1000, CPU µs per delivery",
    },
    Figure {
        scenario: "lone100",
        field: "server_cpu_us_per_delivery",
        title: "lone100, CPU µs per delivery",
    },
    Figure {
        scenario: "lone1000",
        field: "server_cpu_us_per_delivery",
        title: "lone1000, CPU µs per delivery",
    },
    Figure { scenario: "latency", field: "all_us_p50", title: "latency, µs until all of 100 have it, p50" },
    Figure { scenario: "latency", field: "all_us_p99", title: "latency, µs until all of 100 have it, p99" },
    Figure { scenario: "idle", field: "rss_kib_per_connection", title: "idle connection, KiB" },
    Figure { scenario: "idle", field: "server_cpu_us_per_connect", title: "connect and NICK, CPU µs" },
];

/// The columns of each picture.
const PICTURES: &[(&str, std::ops::Range<usize>)] = &[("deliveries", 0..4), ("connections", 4..8)];

/// Who is compared, in this order: server, dialect, name, colour.
const CONTESTANTS: &[(&str, &str, &str, &str)] = &[
    ("snug", "clear", "snug, clear", "#2e8b57"),
    ("snug", "sealed", "snug, sealed", "#1f6f43"),
    ("inspircd", "irc", "InspIRCd, clear", "#8fa8c8"),
    ("inspircd", "irc-tls", "InspIRCd, TLS", "#6b88b0"),
    ("ngircd", "irc", "ngIRCd, clear", "#c8b48f"),
    ("ngircd", "irc-tls", "ngIRCd, TLS", "#b0946b"),
    ("ergo", "irc", "Ergo, clear", "#c89a9a"),
    ("ergo", "irc-tls", "Ergo, TLS", "#b07070"),
    ("floor", "raw", "floor", "#bbbbbb"),
];

/// All values of each figure: by scenario, server, dialect and field, sorted.
type Runs = BTreeMap<(String, String, String, String), Vec<f64>>;

fn read(files: &[PathBuf]) -> anyhow::Result<Runs> {
    let mut runs = Runs::new();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for line in text.lines() {
            let run: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let word = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
            for (field, value) in run.as_object().into_iter().flatten() {
                if let Some(value) = value.as_f64() {
                    let key = (word("scenario"), word("server"), word("dialect"), field.clone());
                    runs.entry(key).or_default().push(value);
                }
            }
        }
    }
    runs.values_mut().for_each(|values| values.sort_by(f64::total_cmp));
    Ok(runs)
}

/// Least, median and most.
fn of(runs: &Runs, figure: &Figure, server: &str, dialect: &str) -> Option<(f64, f64, f64)> {
    let key = (figure.scenario.to_owned(), server.to_owned(), dialect.to_owned(), figure.field.to_owned());
    let values = runs.get(&key)?;
    Some((*values.first()?, quantile(values, 0.5), *values.last()?))
}

/// With as many digits as say something.
fn digits(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

impl Table {
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let runs = read(&self.files)?;
        let mut table = String::new();
        for (_, columns) in PICTURES {
            let figures = &FIGURES[columns.clone()];
            let titles: Vec<&str> = figures.iter().map(|figure| figure.title).collect();
            let _ = writeln!(table, "| server | {} |", titles.join(" | "));
            let _ = writeln!(table, "|---|{}", "---|".repeat(figures.len()));
            for (server, dialect, name, _) in CONTESTANTS {
                let cell = |figure: &Figure| match of(&runs, figure, server, dialect) {
                    Some((least, median, most)) => {
                        format!("**{}** ({}–{})", digits(median), digits(least), digits(most))
                    }
                    None => "–".to_owned(),
                };
                let cells: Vec<String> = figures.iter().map(cell).collect();
                if cells.iter().any(|cell| cell != "–") {
                    let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
                }
            }
            table.push('\n');
        }
        Ok(table)
    }
}

impl Plot {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runs = read(&self.files)?;
        fs::create_dir_all(&self.out)?;
        for (name, columns) in PICTURES {
            fs::write(self.out.join(format!("{name}.svg")), bars(&runs, &FIGURES[columns.clone()]))?;
        }
        let growth = growth(&self.files)?;
        if !growth.is_empty() {
            fs::write(self.out.join("growth.svg"), lines(&growth)?)?;
        }
        Ok(())
    }
}

const WIDTH: f64 = 880.0;
const STYLE: &str = "<style>text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 } \
                     .small { font-size: 10px; fill: #555 }</style>";

/// Figures side by side, two in a row; each bar is a median, the thin line from the least to the most.
fn bars(runs: &Runs, figures: &[Figure]) -> String {
    let (row, label, panel) = (19.0, 108.0, WIDTH / 2.0);
    let height = 44.0 + row * CONTESTANTS.len() as f64;
    let total = height * figures.len().div_ceil(2) as f64;
    let mut svg = begin(total);
    for (number, figure) in figures.iter().enumerate() {
        let (left, top) = (panel * (number % 2) as f64, height * (number / 2) as f64);
        let shown: Vec<_> = CONTESTANTS
            .iter()
            .filter_map(|(server, dialect, name, colour)| {
                Some((name, colour, of(runs, figure, server, dialect)?))
            })
            .collect();
        // Who is ten times above the others would make all of them look alike.
        let mut medians: Vec<f64> = shown.iter().map(|(_, _, (_, median, _))| *median).collect();
        medians.sort_by(f64::total_cmp);
        let most = shown.iter().map(|(_, _, (_, _, most))| *most).fold(0.0, f64::max);
        let scale = most.min(quantile(&medians, 0.5) * 4.0).max(f64::MIN_POSITIVE);
        let x = |value: f64| left + label + (value / scale).min(1.0) * (panel - label - 60.0);
        let _ = writeln!(
            svg,
            "<text class='title' x='{}' y='{}'>{}</text>",
            left + 8.0,
            top + 20.0,
            figure.title
        );
        for (place, (name, colour, (least, median, most))) in shown.iter().enumerate() {
            let y = top + 32.0 + row * place as f64;
            let width = x(*median) - left - label;
            let _ = writeln!(
                svg,
                "<text x='{:.1}' y='{:.1}' text-anchor='end'>{name}</text>\
                 <rect x='{:.1}' y='{:.1}' width='{width:.1}' height='13' fill='{colour}'/>\
                 <path d='M{:.1} {:.1}H{:.1}' stroke='#333'/>\
                 <text class='small' x='{:.1}' y='{:.1}'>{}{}</text>",
                left + label - 5.0,
                y + 11.0,
                left + label,
                y,
                x(*least),
                y + 6.5,
                x(*most),
                x(*most).max(x(*median)) + 4.0,
                y + 10.5,
                digits(*median),
                if *median > scale { " (cut)" } else { "" },
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn begin(height: f64) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'>\n\
         {STYLE}\n<rect width='100%' height='100%' fill='white'/>\n"
    )
}

/// What grows, and points of it: how many, and the cost of a delivery.
type Growth = BTreeMap<String, Vec<(f64, f64)>>;

fn growth(files: &[PathBuf]) -> anyhow::Result<Growth> {
    let mut points: BTreeMap<(String, u64), Vec<f64>> = BTreeMap::new();
    for file in files {
        for line in fs::read_to_string(file)?.lines() {
            let run: Value = serde_json::from_str(line)?;
            if run["scenario"] == "growth" {
                let of = format!(
                    "{}, {}",
                    run["of"].as_str().unwrap_or_default(),
                    run["dialect"].as_str().unwrap_or_default()
                );
                let cost = run["server_cpu_us_per_delivery"].as_f64().context("a figure")?;
                points.entry((of, run["count"].as_u64().context("a count")?)).or_default().push(cost);
            }
        }
    }
    let mut growth = Growth::new();
    for ((of, count), mut costs) in points {
        costs.sort_by(f64::total_cmp);
        growth.entry(of).or_default().push((count as f64, quantile(&costs, 0.5)));
    }
    Ok(growth)
}

/// The cost of a delivery over how many there are of something, which is drawn by its logarithm.
fn lines(growth: &Growth) -> anyhow::Result<String> {
    let (height, left, right, top, bottom) = (300.0, 60.0, 170.0, 40.0, 40.0);
    let most = growth.values().flatten().map(|(count, _)| *count).fold(1.0, f64::max).log10();
    let highest = growth.values().flatten().map(|(_, cost)| *cost).fold(0.0, f64::max) * 1.2;
    ensure!(highest > 0.0, "no costs");
    let x = |count: f64| left + count.max(1.0).log10() / most * (WIDTH - left - right);
    let y = |cost: f64| height - bottom - cost / highest * (height - top - bottom);
    let mut svg = begin(height);
    let _ =
        writeln!(svg, "<text class='title' x='8' y='20'>CPU µs per delivery, with more of everything</text>");
    for step in 0..=4 {
        let cost = highest * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<path d='M{left} {0:.1}H{1:.1}' stroke='#ddd'/><text class='small' x='{2:.1}' y='{3:.1}' \
             text-anchor='end'>{4:.2}</text>",
            y(cost),
            WIDTH - right,
            left - 6.0,
            y(cost) + 3.0,
            cost
        );
    }
    for power in 0..=most.ceil() as u32 {
        let count = 10f64.powi(power.cast_signed());
        if x(count) <= WIDTH - right + 1.0 {
            let _ = writeln!(
                svg,
                "<text class='small' x='{:.1}' y='{:.1}' text-anchor='middle'>{count}</text>",
                x(count),
                height - bottom + 16.0
            );
        }
    }
    let colours = ["#2e8b57", "#6b88b0", "#b0946b", "#b07070", "#8866aa", "#555555"];
    for (points, colour) in growth.values().zip(colours.iter().cycle()) {
        let path: Vec<String> =
            points.iter().map(|(count, cost)| format!("{:.1} {:.1}", x(*count), y(*cost))).collect();
        let _ =
            writeln!(svg, "<path d='M{}' fill='none' stroke='{colour}' stroke-width='2'/>", path.join("L"));
        for (count, cost) in points {
            let _ =
                writeln!(svg, "<circle cx='{:.1}' cy='{:.1}' r='3.5' fill='{colour}'/>", x(*count), y(*cost));
        }
    }
    for (place, (of, colour)) in growth.keys().zip(colours.iter().cycle()).enumerate() {
        let y = top + 18.0 * place as f64;
        let _ = writeln!(
            svg,
            "<rect x='{0:.1}' y='{1:.1}' width='10' height='10' fill='{colour}'/><text x='{2:.1}' y='{3:.1}'>{of}</text>",
            WIDTH - right + 14.0,
            y,
            WIDTH - right + 30.0,
            y + 9.5
        );
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_runs_stands_in_the_table_and_in_the_picture() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("runs");
        let runs = [0.3, 0.1, 0.2].map(|cost| {
            format!("{{\"scenario\":\"fan100\",\"server\":\"snug\",\"dialect\":\"clear\",\"server_cpu_us_per_delivery\":{cost}}}\n")
        });
        let growth = "{\"scenario\":\"growth\",\"of\":\"rooms\",\"count\":10,\"dialect\":\"clear\",\"server_cpu_us_per_delivery\":0.5}\n";
        fs::write(&file, runs.concat() + growth).expect("a file");
        let table = Table { files: vec![file.clone()] }.run().expect("a table");
        assert!(table.contains("| snug, clear | **0.200** (0.100–0.300) | – |"), "{table}");
        let out = folder.path().join("plots");
        Plot { files: vec![file], out: out.clone() }.run().expect("plots");
        let svg = fs::read_to_string(out.join("deliveries.svg")).expect("a picture");
        assert!(svg.contains(">0.200</text>") && svg.ends_with("</svg>\n"));
        assert!(out.join("growth.svg").exists());
    }
}
