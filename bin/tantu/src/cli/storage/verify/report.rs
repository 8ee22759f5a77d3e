//! What a check has found, for people as a table and sentences, for programs as one JSON object per line.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// No borders: what is printed can be read by `awk` too.
const RULE_UNDER_HEADER: TableStyle = NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));
/// Most findings, and most notes, that are kept; all are counted.
const KEPT_COUNT_MAX: usize = 1000;

/// The kinds of files, in the order they are shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Lock,
    Module,
    Checkpoint,
    Log,
    Depot,
    Manifest,
    Table,
    Other,
}

impl Kind {
    /// What it is called, and what one of its checked units is.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::Lock => ("lock", ""),
            Kind::Module => ("module", "document"),
            Kind::Checkpoint => ("checkpoint", "document"),
            Kind::Log => ("log", "group"),
            Kind::Depot => ("depot", "chunk"),
            Kind::Manifest => ("manifest", "manifest"),
            Kind::Table => ("table", "block"),
            Kind::Other => ("other", ""),
        }
    }

    /// What to do about damage. There is one copy of everything, so what is lost comes back from a backup only.
    fn remedy(self) -> &'static str {
        match self {
            Kind::Log => {
                "restore the data directory from a backup; what was acked after this place is nowhere else, and a start refuses the log"
            }
            Kind::Checkpoint => {
                "restore the file from a backup of the same directory; it says what must be there, and nothing else does"
            }
            Kind::Module => "restore the file from a backup; without it nothing says which object has which number",
            Kind::Depot => {
                "restore the data directory from a backup; reading these records is refused, everything else is not"
            }
            Kind::Manifest => "restore the tree's folder from a backup; without a manifest its tables are not found",
            Kind::Table => {
                "restore the data directory from a backup; reading these keys is refused, everything else is not"
            }
            Kind::Lock | Kind::Other => "none needed: nothing depends on it",
        }
    }
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    kind: Kind,
    path: PathBuf,
    offset: u64,
    what: String,
    remedy: &'static str,
    is_damage: bool,
}

impl Finding {
    /// What a start takes care of, or what does no harm.
    pub(super) fn note(kind: Kind, path: &Path, offset: u64, what: String, remedy: &'static str) -> Finding {
        Finding { kind, path: path.to_path_buf(), offset, what, remedy, is_damage: false }
    }
}

/// What was looked at of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    files: u64,
    bytes: u64,
    units: u64,
    damaged: u64,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Report {
    counts: BTreeMap<Kind, Count>,
    findings: Vec<Finding>,
    notes: Vec<Finding>,
    finding_count: u64,
    note_count: u64,
}

impl Report {
    pub(super) fn file(&mut self, kind: Kind, size: u64) {
        let count = self.counts.entry(kind).or_default();
        count.files += 1;
        count.bytes += size;
    }

    pub(super) fn units(&mut self, kind: Kind, count: u64) {
        self.counts.entry(kind).or_default().units += count;
    }

    pub(super) fn damage(&mut self, kind: Kind, path: &Path, offset: u64, what: impl ToString) {
        let (path, what) = (path.to_path_buf(), what.to_string());
        self.add(Finding { kind, path, offset, what, remedy: kind.remedy(), is_damage: true });
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let (kept, count) = match finding.is_damage {
            true => (&mut self.findings, &mut self.finding_count),
            false => (&mut self.notes, &mut self.note_count),
        };
        *count += 1;
        if finding.is_damage {
            self.counts.entry(finding.kind).or_default().damaged += 1;
        }
        if kept.len() < KEPT_COUNT_MAX {
            kept.push(finding);
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.finding_count == 0
    }

    /// A table by kind, the notes, the findings, and how it ended.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(RULE_UNDER_HEADER).set_header(["kind", "files", "bytes", "checked", "damaged"]);
        for (kind, count) in &self.counts {
            let (name, unit) = kind.words();
            let checked = match count.units {
                _ if unit.is_empty() => "-".to_string(),
                1 => format!("1 {unit}"),
                units => format!("{units} {unit}s"),
            };
            let numbers = [count.files, count.bytes].map(|number| number.to_string());
            let [files, bytes] = numbers;
            table.add_row([name.to_string(), files, bytes, checked, count.damaged.to_string()]);
        }
        for column in 1..5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{table}\n");
        // Writing to a string cannot fail.
        for Finding { path, offset, what, remedy, .. } in &self.notes {
            let _ = write!(text, "note: {}:{offset}: {what}\n    remedy: {remedy}\n", path.display());
        }
        for Finding { path, offset, what, remedy, .. } in &self.findings {
            let _ = write!(text, "{}:{offset}: {what}\n    remedy: {remedy}\n", path.display());
        }
        if self.not_shown() > 0 {
            let _ = writeln!(text, "… and {} more", self.not_shown());
        }
        let _ = match self.finding_count {
            0 => writeln!(text, "healthy"),
            1 => writeln!(text, "1 finding"),
            count => writeln!(text, "{count} findings"),
        };
        text
    }

    fn not_shown(&self) -> u64 {
        self.finding_count + self.note_count - (self.findings.len() + self.notes.len()) as u64
    }

    /// One object per note and finding, then the summary.
    pub(super) fn json(&self) -> String {
        let mut text = String::new();
        for finding in self.notes.iter().chain(&self.findings) {
            let object = json!({
                "kind": finding.kind.words().0,
                "severity": if finding.is_damage { "damage" } else { "note" },
                "file": finding.path.display().to_string(),
                "offset": finding.offset,
                "what": finding.what,
                "remedy": finding.remedy,
            });
            let _ = writeln!(text, "{object}");
        }
        let kind = |(kind, count): (&Kind, &Count)| {
            let Count { files, bytes, units, damaged } = count;
            json!({"kind": kind.words().0, "files": files, "bytes": bytes, "checked": units, "damaged": damaged})
        };
        let kinds: Vec<_> = self.counts.iter().map(kind).collect();
        let summary = json!({
            "healthy": self.is_healthy(),
            "findings": self.finding_count,
            "notes": self.note_count,
            "not_shown": self.not_shown(),
            "kinds": kinds,
        });
        let _ = writeln!(text, "{}", json!({ "summary": summary }));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_findings_than_are_kept_are_counted_and_said() {
        let mut report = Report::default();
        assert!(report.is_healthy() && report.text().ends_with("healthy\n"));
        for offset in 0..KEPT_COUNT_MAX as u64 + 5 {
            report.damage(Kind::Table, Path::new("t"), offset, "wrong");
        }
        let text = report.text();
        assert!(text.ends_with("… and 5 more\n1005 findings\n"), "{}", &text[text.len() - 200..]);
        assert!(text.contains("\nt:7: wrong\n    remedy: "));
        let json = report.json();
        let summary: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
        assert_eq!(summary["summary"]["findings"], 1005);
        assert_eq!(summary["summary"]["healthy"], false);
        assert_eq!(json.lines().count(), KEPT_COUNT_MAX + 1);
    }

    #[test]
    fn a_note_alone_leaves_a_directory_healthy() {
        let mut report = Report::default();
        report.add(Finding::note(Kind::Other, Path::new("x"), 0, "not ours".into(), "none"));
        assert!(report.is_healthy());
        assert!(report.text().contains("note: x:0: not ours\n") && report.text().ends_with("healthy\n"));
    }
}
