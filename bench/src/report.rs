//! What a suite prints: a line per run, medians and ratios per workload.

use crate::error::BenchError;
use serde_json::{Map, Value, json};
use std::io::Write;

/// Figures of one run, by name.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// One engine's runs of one workload.
#[derive(Debug)]
struct Row {
    suite: &'static str,
    workload: String,
    engine: String,
    config: Value,
    runs: Vec<Figures>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    rows: Vec<Row>,
    ratios: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), ratios: Vec::new() }
    }

    /// Takes a run in, and prints it.
    pub(crate) fn run(
        &mut self,
        suite: &'static str,
        workload: &str,
        engine: &str,
        config: &Value,
        figures: Figures,
    ) -> Result<(), BenchError> {
        let found = self.rows.iter().position(|row| row.workload == workload && row.engine == engine);
        let at = found.unwrap_or_else(|| {
            let (workload, engine) = (workload.to_string(), engine.to_string());
            self.rows.push(Row { suite, workload, engine, config: config.clone(), runs: Vec::new() });
            self.rows.len() - 1
        });
        self.rows[at].runs.push(figures);
        let row = &self.rows[at];
        let line = line(row, json!(row.runs.len()), &row.runs[row.runs.len() - 1]);
        if self.json {
            return print(&line);
        }
        eprintln!("{line}");
        Ok(())
    }

    /// Says that a peer is not there and how to get it: nothing is claimed against it.
    pub(crate) fn skipped(&mut self, suite: &str, engine: &str, install: &str) -> Result<(), BenchError> {
        let line = json!({ "suite": suite, "engine": engine, "run": "SKIPPED", "install": install });
        if self.json {
            return print(&line);
        }
        println!("{engine}: SKIPPED; to have it: {install}");
        Ok(())
    }

    /// The median of a figure over an engine's runs of a workload.
    pub(crate) fn median(&self, workload: &str, engine: &str, figure: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.workload == workload && row.engine == engine)?;
        median(row.runs.iter().filter_map(|run| run.iter().find(|(name, _)| *name == figure).map(|(_, value)| *value)))
    }

    /// States how one engine's median compares with another's.
    pub(crate) fn ratio(&mut self, workload: &str, figure: &str, engine: &str, peer: &str) {
        if let (Some(one), Some(other)) = (self.median(workload, engine, figure), self.median(workload, peer, figure)) {
            self.ratios.push((format!("{workload}: {engine} / {peer}, {figure}"), one / other));
        }
    }

    /// Prints medians and ratios.
    pub(crate) fn finish(self) -> Result<(), BenchError> {
        let medians = |row: &Row| -> Figures {
            let names: Vec<&'static str> = row.runs.first().into_iter().flatten().map(|(name, _)| *name).collect();
            let of = |name| self.median(&row.workload, &row.engine, name).unwrap_or(f64::NAN);
            names.into_iter().map(|name| (name, of(name))).collect()
        };
        if self.json {
            for row in &self.rows {
                print(&line(row, json!("median"), &medians(row)))?;
            }
            for (what, ratio) in &self.ratios {
                let suite = self.rows.first().map_or("", |row| row.suite);
                print(&json!({ "suite": suite, "run": "ratio", "what": what, "ratio": round(*ratio) }))?;
            }
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        for row in &self.rows {
            let figures =
                medians(row).iter().map(|(name, value)| format!("{name} {}", short(*value))).collect::<Vec<_>>();
            table.add_row([row.workload.clone(), row.engine.clone(), figures.join("  ")]);
        }
        println!("medians\n{table}");
        self.ratios.iter().for_each(|(what, ratio)| println!("{what}: {}", short(*ratio)));
        Ok(())
    }
}

fn line(row: &Row, run: Value, figures: &Figures) -> Value {
    let mut line = Map::new();
    line.insert("suite".into(), json!(row.suite));
    line.insert("workload".into(), json!(row.workload));
    line.insert("engine".into(), json!(row.engine));
    line.insert("config".into(), row.config.clone());
    line.insert("run".into(), run);
    for (name, value) in figures {
        line.insert((*name).into(), json!(round(*value)));
    }
    Value::Object(line)
}

fn print(line: &Value) -> Result<(), BenchError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(BenchError::io("writing to standard output"))
}

/// Six digits are more than a run can tell.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(5 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

fn short(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// The middle one; of an even count the lower of the two.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_rounding_are_what_they_say() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(1.0));
        assert_eq!(median(std::iter::empty()), None);
        assert_eq!(round(1_234_567.0), 1_234_570.0);
        assert_eq!(round(0.000_123_456_78), 0.000_123_457);
        assert_eq!(round(0.0), 0.0);
    }

    #[test]
    fn runs_of_an_engine_are_numbered_and_compared_by_their_medians() {
        let mut report = Report::new(false);
        for (one, other) in [(2.0, 10.0), (4.0, 20.0), (3.0, 1.0)] {
            report.run("s", "w", "tantu", &json!({}), vec![("per_s", one)]).expect("standard error takes it");
            report.run("s", "w", "bound", &json!({}), vec![("per_s", other)]).expect("standard error takes it");
        }
        assert_eq!(report.median("w", "tantu", "per_s"), Some(3.0));
        report.ratio("w", "per_s", "tantu", "bound");
        report.ratio("w", "per_s", "tantu", "nobody");
        assert_eq!(report.ratios, [("w: tantu / bound, per_s".to_string(), 0.3)]);
    }
}
