//! PostgreSQL's `pgbench`: its TPC-B-like transactions at scale 10, on a server that the bench makes, starts and stops.
//!
//! A transaction moves an amount into an account, a teller and a branch and notes it; it is durable before its answer.

use super::TopoArgs;
use crate::Common;
use crate::child::{self, Program};
use crate::error::BenchError;
use crate::report::Measured;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What must be known to read a comparison with it.
pub(super) const NOTE: &str = "postgres: pgbench TPC-B over a socket of the machine, the best of several client counts";
const PACKAGE: &str = "postgresql";
const SCALE: &str = "10";
/// How long it may take to answer after its start, or to end.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// It is as durable as it can be, and has room so that it does not checkpoint all the time.
const OPTIONS: &[&str] = &[
    "listen_addresses=",
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "max_connections=200",
    "logging_collector=off",
];

pub(super) fn run(args: &TopoArgs, common: &Common) -> Result<Measured, BenchError> {
    let dir = common.fresh_dir()?;
    let server = Server::start(dir.path())?;
    child::run(server.user.command("pgbench")?.args(["-i", "-q", "-s", SCALE]).args(server.connection()))?;
    let seconds = args.measured_time(common).as_secs().max(1).to_string();
    let mut rates = Vec::new();
    for clients in &args.clients {
        let mut command = server.user.command("pgbench")?;
        command.args(["-n", "-c", &clients.to_string(), "-j", "2", "-T", &seconds]).args(server.connection());
        let ended = child::run(&mut command)?;
        let rate = transactions_per_s(&ended.text)
            .ok_or_else(|| BenchError::Wrong(format!("pgbench's report is not understood: {}", ended.text)))?;
        rates.push((rate, *clients));
    }
    let best = rates.into_iter().max_by(|one, other| one.0.total_cmp(&other.0));
    let (rate, clients) = best.ok_or_else(|| BenchError::Wrong("there is no client count".to_string()))?;
    Ok(vec![("transfers_per_s", rate), ("clients", f64::from(clients))].into())
}

fn transactions_per_s(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whom the server runs as: it refuses to run as root.
struct User {
    ids: Option<(u32, u32)>,
}

impl User {
    fn find() -> Result<User, BenchError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(User { ids: None });
        }
        let known = std::fs::read_to_string("/etc/passwd").map_err(BenchError::io("reading /etc/passwd"))?;
        let missing = BenchError::NotInstalled { program: "PostgreSQL's user", package: PACKAGE };
        ids_of(&known, "postgres").ok_or(missing).map(|ids| User { ids: Some(ids) })
    }

    /// A program of PostgreSQL's: on the path, or where Debian has those of the newest version.
    fn command(&self, name: &'static str) -> Result<Command, BenchError> {
        let mut command = Command::new(program(name)?);
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        // Its own directory may be one that the user may not enter.
        command.current_dir("/");
        Ok(command)
    }

    fn give(&self, dir: &Path) -> Result<(), BenchError> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        std::os::unix::fs::chown(dir, Some(user), Some(group))
            .map_err(BenchError::io("giving PostgreSQL its directory"))
    }
}

fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn program(name: &'static str) -> Result<PathBuf, BenchError> {
    if (Program { name, package: PACKAGE }).require().is_ok() {
        return Ok(PathBuf::from(name));
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found.pop().ok_or(BenchError::NotInstalled { program: name, package: PACKAGE })
}

/// A server of one's own, ended when it is dropped.
struct Server {
    user: User,
    child: Child,
    dir: PathBuf,
}

impl Server {
    /// Makes one in a directory, and waits until it answers.
    fn start(dir: &Path) -> Result<Server, BenchError> {
        let user = User::find()?;
        user.give(dir)?;
        let data = dir.join("data");
        child::run(user.command("initdb")?.args(["-U", "postgres", "-A", "trust", "-D"]).arg(&data))?;
        let mut command = user.command("postgres")?;
        command.arg("-D").arg(&data).arg("-k").arg(dir);
        command.args(OPTIONS.iter().flat_map(|option| ["-c", option]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(BenchError::io("starting postgres"))?;
        let mut server = Server { user, child, dir: dir.to_path_buf() };
        let began = Instant::now();
        loop {
            let mut ask = server.user.command("pg_isready")?;
            ask.args(["-q"]).arg("-h").arg(dir);
            if ask.status().map_err(BenchError::io("asking postgres"))?.success() {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait().map_err(BenchError::io("waiting for postgres"))? {
                return Err(BenchError::Wrong(format!("postgres ended at its start: {status}")));
            }
            if began.elapsed() > START_TIME_MAX {
                return Err(BenchError::Wrong("postgres does not answer".to_string()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn connection(&self) -> [String; 5] {
        ["-h", &self.dir.to_string_lossy(), "-U", "postgres", "postgres"].map(str::to_string)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is of no more use, but its processes share memory that a fast shutdown gives back.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_report_and_the_ids_of_a_user_are_found() {
        let text = "latency average = 1.5 ms\ntps = 1234.500000 (without initial connection time)\n";
        assert_eq!(transactions_per_s(text), Some(1234.5));
        assert_eq!(transactions_per_s("nothing\n"), None);
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\n";
        assert_eq!(ids_of(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(passwd, "post"), None);
    }

    /// Runs where the package is there, as on every machine that measures.
    #[test]
    fn a_server_is_made_asked_and_stopped() {
        if program("postgres").is_err() || User::find().is_err() {
            return;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start(dir.path()).expect("it starts");
        let mut ask = server.user.command("psql").expect("it is there");
        let answer = child::run(ask.args(["-tA", "-c", "show synchronous_commit"]).args(server.connection()));
        assert_eq!(answer.expect("it answers").text, "on\n");
        let pid = dir.path().join("data/postmaster.pid");
        assert!(pid.exists());
        drop(server);
        assert!(!pid.exists(), "it ended in order");
    }
}
