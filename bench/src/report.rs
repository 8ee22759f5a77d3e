//! What a suite prints: a line per run, medians and ratios per workload.

use crate::error::BenchError;
use crate::fields::Fields;
use crate::measure::{Latencies, quantiles};
use crate::{machine, plot};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Figures of one run, by name.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// What a run measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) figures: Figures,
    /// Those of every operation, where the engine tells them.
    pub(crate) latencies: Option<Latencies>,
}

impl Measured {
    /// Figures, then the quantiles of the latencies.
    pub(crate) fn new(mut figures: Figures, latencies: Latencies) -> Self {
        figures.extend(quantiles(&latencies.all()));
        Self { figures, latencies: Some(latencies) }
    }

    /// A figure more.
    pub(crate) fn push(&mut self, name: &'static str, value: f64) {
        self.figures.push((name, value));
    }
}

impl From<Figures> for Measured {
    fn from(figures: Figures) -> Self {
        Self { figures, latencies: None }
    }
}

/// One engine's runs of one workload.
#[derive(Debug)]
struct Row {
    suite: &'static str,
    workload: String,
    engine: String,
    config: Fields,
    runs: Vec<Figures>,
    /// Kept for the files only.
    latencies: Vec<Latencies>,
}

/// How one engine's median compares with another's.
#[derive(Debug, PartialEq)]
struct Ratio {
    what: String,
    ratio: f64,
    /// What must be known to read it; empty if nothing.
    note: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    out: Option<PathBuf>,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
    lines: Vec<Fields>,
}

impl Report {
    /// Lines go to standard output if they are wanted there, and everything into a directory if there is one.
    pub(crate) fn new(json: bool, out: Option<PathBuf>) -> Self {
        Self { json, out, rows: Vec::new(), ratios: Vec::new(), lines: Vec::new() }
    }

    /// Takes a run in, and prints it.
    pub(crate) fn run(
        &mut self,
        suite: &'static str,
        workload: &str,
        engine: &str,
        config: &Fields,
        measured: Measured,
    ) -> Result<(), BenchError> {
        let found = self.rows.iter().position(|row| row.workload == workload && row.engine == engine);
        let at = found.unwrap_or_else(|| {
            let (workload, engine, config) = (workload.to_string(), engine.to_string(), config.clone());
            self.rows.push(Row { suite, workload, engine, config, runs: Vec::new(), latencies: Vec::new() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        row.runs.push(measured.figures);
        if self.out.is_some() {
            row.latencies.extend(measured.latencies);
        }
        let line = line(row, row.runs.len().into(), &row.runs[row.runs.len() - 1]);
        if !self.json {
            eprintln!("{line}");
        }
        self.line(line)
    }

    fn line(&mut self, line: Fields) -> Result<(), BenchError> {
        if self.json {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush()).map_err(BenchError::io("writing to standard output"))?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// The median of a figure over an engine's runs of a workload.
    pub(crate) fn median(&self, workload: &str, engine: &str, figure: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.workload == workload && row.engine == engine)?;
        median(row.runs.iter().filter_map(|run| run.iter().find(|(name, _)| *name == figure).map(|(_, value)| *value)))
    }

    /// States how one engine's median compares with another's, and what must be known to read that.
    pub(crate) fn ratio(&mut self, workload: &str, figure: &str, engine: &str, peer: &str, note: &str) {
        if let (Some(one), Some(other)) = (self.median(workload, engine, figure), self.median(workload, peer, figure)) {
            let what = format!("{workload}: {engine} / {peer}, {figure}");
            self.ratios.push(Ratio { what, ratio: one / other, note: note.to_string() });
        }
    }

    fn medians(&self, row: &Row) -> Figures {
        let names: Vec<&'static str> = row.runs.first().into_iter().flatten().map(|(name, _)| *name).collect();
        let of = |name| self.median(&row.workload, &row.engine, name).unwrap_or(f64::NAN);
        names.into_iter().map(|name| (name, of(name))).collect()
    }

    /// Prints medians and ratios, and writes the files.
    pub(crate) fn finish(mut self, arguments: &str, seed: Option<u64>) -> Result<(), BenchError> {
        let suite = self.rows.first().map_or("", |row| row.suite);
        let medians = self.rows.iter().map(|row| line(row, "median".into(), &self.medians(row)));
        let ratios = self.ratios.iter().map(|ratio| {
            let line = Fields::new().with("suite", suite).with("run", "ratio").with("what", ratio.what.as_str());
            let line = line.with("ratio", round(ratio.ratio));
            if ratio.note.is_empty() { line } else { line.with("note", ratio.note.as_str()) }
        });
        for line in medians.chain(ratios).collect::<Vec<_>>() {
            self.line(line)?;
        }
        let table = self.table();
        if !self.json {
            println!("{table}");
        }
        match self.out.take() {
            Some(out) => self.write_files(&out, arguments, seed, &table),
            None => Ok(()),
        }
    }

    fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        for row in &self.rows {
            let figures =
                self.medians(row).iter().map(|(name, value)| format!("{name} {}", short(*value))).collect::<Vec<_>>();
            table.add_row([row.workload.clone(), row.engine.clone(), figures.join("  ")]);
        }
        let mut text = format!("medians\n{table}");
        for Ratio { what, ratio, note } in &self.ratios {
            let _ = write!(text, "\n{what}: {}", short(*ratio));
            if !note.is_empty() {
                let _ = write!(text, " ({note})");
            }
        }
        text
    }

    fn write_files(&self, out: &Path, arguments: &str, seed: Option<u64>, table: &str) -> Result<(), BenchError> {
        std::fs::create_dir_all(out).map_err(BenchError::io(format!("making {}", out.display())))?;
        let write = |name: String, bytes: &[u8]| {
            let path = out.join(name);
            std::fs::write(&path, bytes).map_err(BenchError::io(format!("writing {}", path.display())))
        };
        for row in &self.rows {
            let (Some(mut all), runs) = (row.latencies.first().map(Latencies::all), &row.latencies) else { continue };
            runs[1..].iter().for_each(|run| all.add(run.all()).expect("invariant: the same bounds"));
            let name = format!("{}-{}", row.workload, row.engine);
            write(format!("{name}.hgrm"), plot::distribution(&all).as_bytes())?;
            write(format!("{name}.hlog"), &plot::interval_log(runs)?)?;
        }
        let result = Fields::new()
            .with_object("machine", &machine::machine())
            .with("kernel", machine::kernel())
            .with("git", machine::git())
            .with("config", arguments)
            .with("seed", seed)
            .with_objects("lines", &self.lines);
        write("result.json".to_string(), format!("{result}\n").as_bytes())?;
        write("table.txt".to_string(), format!("{table}\n").as_bytes())
    }
}

fn line(row: &Row, run: Value, figures: &Figures) -> Fields {
    let head = Fields::new().with("suite", row.suite).with("workload", row.workload.as_str());
    let head = head.with("engine", row.engine.as_str()).with_object("config", &row.config).with("run", run);
    figures.iter().fold(head, |line, (name, value)| line.with(name, round(*value)))
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
        let mut report = Report::new(false, None);
        let config = Fields::new();
        for (one, other) in [(2.0, 10.0), (4.0, 20.0), (3.0, 1.0)] {
            report.run("s", "w", "tantu", &config, vec![("per_s", one)].into()).expect("standard error takes it");
            report.run("s", "w", "bound", &config, vec![("per_s", other)].into()).expect("standard error takes it");
        }
        assert_eq!(report.median("w", "tantu", "per_s"), Some(3.0));
        report.ratio("w", "per_s", "tantu", "bound", "as it is");
        report.ratio("w", "per_s", "tantu", "nobody", "");
        let what = "w: tantu / bound, per_s".to_string();
        assert_eq!(report.ratios, [Ratio { what, ratio: 0.3, note: "as it is".to_string() }]);
        assert!(report.table().ends_with("\nw: tantu / bound, per_s: 0.300 (as it is)"));
    }

    #[test]
    fn a_directory_gets_the_result_the_table_and_two_files_of_latencies_per_engine() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("made/for/it");
        let mut report = Report::new(false, Some(out.clone()));
        let began = std::time::Instant::now();
        for ms in [1, 2] {
            let mut latencies = Latencies::new(began);
            latencies.record(began, began + std::time::Duration::from_millis(ms));
            let measured = Measured::new(vec![("per_s", 1.0)], latencies);
            let config = Fields::new().with("z", 1).with("a", 2);
            report.run("s", "w", "tantu", &config, measured).expect("standard error takes it");
        }
        report.run("s", "w", "peer", &Fields::new(), vec![("per_s", 2.0)].into()).expect("it takes that too");
        report.ratio("w", "per_s", "tantu", "peer", "");
        report.finish("s --seed 7", Some(7)).expect("it is written");
        let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("it is there");
        let result = read("result.json");
        let parsed: Value = serde_json::from_str(&result).expect("it is JSON");
        assert_eq!((&parsed["seed"], &parsed["config"]), (&7.into(), &"s --seed 7".into()));
        assert_eq!(parsed["lines"].as_array().map(Vec::len), Some(3 + 2 + 1), "runs, medians, a ratio");
        let first = result.lines().nth(1).expect("a line of its own");
        let head =
            r#"{"suite":"s","workload":"w","engine":"tantu","config":{"z":1,"a":2},"run":1,"per_s":1.0,"p50_us":"#;
        assert!(first.starts_with(head), "the keys keep their order: {first}");
        assert!(read("table.txt").contains("w: tantu / peer, per_s: 0.500"));
        assert!(read("w-tantu.hgrm").contains("Total count    =            2]"));
        assert_eq!(read("w-tantu.hlog").matches("Tag=run-").count(), 2);
        assert!(!out.join("w-peer.hgrm").exists(), "it told none");
    }
}
