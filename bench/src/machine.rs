//! What was measured on: the machine, its kernel, the commit.

use crate::error::BenchError;
use crate::fields::Fields;
use std::process::Command;

/// The machine, for the report. What it does not tell is `unknown`.
pub(crate) fn machine() -> Fields {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    Fields::new()
        .with("cpu", value_of(&read("/proc/cpuinfo"), "model name"))
        .with("cpus", cpus)
        .with("memory", value_of(&read("/proc/meminfo"), "MemTotal"))
        .with("arch", std::env::consts::ARCH)
}

/// Processors for threads that each need one of their own.
#[derive(Clone, Debug)]
pub(crate) struct Pinning {
    cpus: Vec<usize>,
}

impl Pinning {
    /// Processors for so many threads, if there are enough.
    pub(crate) fn of(threads: usize) -> Option<Self> {
        let set = rustix::thread::sched_getaffinity(None).ok()?;
        let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
        (cpus.len() >= threads).then_some(Self { cpus })
    }

    /// The calling thread, which is so-manieth of all, keeps to its processor.
    pub(crate) fn pin(&self, number: usize) -> Result<(), BenchError> {
        let mut set = rustix::thread::CpuSet::new();
        set.set(self.cpus[number]);
        rustix::thread::sched_setaffinity(None, &set).map_err(BenchError::io("keeping a thread to a processor"))
    }
}

/// The kernel's release.
pub(crate) fn kernel() -> String {
    or_unknown(read("/proc/sys/kernel/osrelease").trim())
}

/// The commit that was built, with `-dirty` if more than it was.
pub(crate) fn git() -> String {
    let mut command = Command::new("git");
    command.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]);
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    or_unknown(output.unwrap_or_default().trim())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".to_string() } else { text.to_string() }
}

/// The value of the first line `name : value`.
fn value_of(text: &str, name: &str) -> String {
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == name);
    or_unknown(value.map_or("", |(_, value)| value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read_by_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nmodel name\t: another\n";
        assert_eq!(value_of(text, "model name"), "Some CPU @ 2.0GHz");
        assert_eq!(value_of(text, "model"), "unknown");
    }
}
