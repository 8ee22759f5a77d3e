//! Programs that run beside: what they printed and what they used.

use crate::error::BenchError;
use crate::measure;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io::{Read, Seek};
use std::process::{Command, Stdio};

/// A program's name and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

impl Program {
    /// An error that names the package if it cannot be started.
    pub(crate) fn require(self) -> Result<(), BenchError> {
        let mut command = Command::new(self.name);
        let started =
            command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match started {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(BenchError::NotInstalled { program: self.name, package: self.package })
            }
            started => started.map(drop).map_err(BenchError::io(format!("starting {}", self.name))),
        }
    }
}

/// What a program that has ended did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) text: String,
    pub(crate) cpu_s: f64,
    pub(crate) written_size: u64,
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<Ended, BenchError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let doing = || BenchError::io(format!("running {name}"));
    // In a file: of two pipes one may fill while the other is read.
    let mut complaints = tempfile::tempfile().map_err(doing())?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints.try_clone().map_err(doing())?);
    let mut child = command.spawn().map_err(doing())?;
    let mut text = String::new();
    if let Some(out) = &mut child.stdout {
        out.read_to_string(&mut text).map_err(doing())?;
    }
    // It is asked what it used after its end and before it is forgotten.
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).map_err(|error| doing()(error.into()))?;
    let process = pid.as_raw_nonzero().to_string();
    let used = measure::cpu_s_of(&process).and_then(|cpu_s| Ok((cpu_s, measure::written_size(&process)?)));
    let status = child.wait().map_err(doing())?;
    if !status.success() {
        complaints.rewind().and_then(|()| complaints.read_to_string(&mut text)).map_err(doing())?;
        return Err(BenchError::Wrong(format!("{name} failed ({status}): {text}")));
    }
    let (cpu_s, written_size) = used?;
    Ok(Ended { text, cpu_s, written_size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_what_it_printed_and_used_and_whether_it_failed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i";
        let ended = run(Command::new("sh").args(["-c", script]).current_dir(dir.path())).expect("it runs");
        assert_eq!(ended.text, "200000\n");
        assert!(ended.cpu_s > 0.0, "it counted");
        let failed = run(Command::new("sh").args(["-c", "echo no; echo why >&2; exit 3"])).expect_err("it fails");
        assert!(failed.to_string().ends_with("exit status: 3): no\nwhy\n"), "{failed}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_package() {
        let nobody = Program { name: "tantu-no-such-program", package: "tantu-no-such-package" };
        let error = nobody.require().expect_err("it is not there").to_string();
        assert!(error.contains("tantu-no-such-program") && error.contains("apt-get install tantu-no-such-package"));
        assert!(Program { name: "sh", package: "dash" }.require().is_ok());
    }
}
