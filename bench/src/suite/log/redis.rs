//! Redis Streams: a server that the bench starts on loopback and stops, and clients that pipeline XADD.

use super::resp;
use crate::child::Program;
use crate::error::BenchError;
use crate::fields::Fields;
use crate::load::Producer;
use crate::measure;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const REDIS_SERVER: Program = Program { name: "redis-server", package: "redis-server" };
/// What must be known to read a comparison with it.
pub(super) const NOTE: &str = "redis is a server over loopback, tantu is in this process";
/// How long it may take to answer after its start.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// Every record is flushed before its reply; no copy of the file is made meanwhile, and nothing is saved besides.
const OPTIONS: &[&str] = &[
    "--bind",
    "127.0.0.1",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--auto-aof-rewrite-percentage",
    "0",
    "--save",
    "",
    "--daemonize",
    "no",
    "--loglevel",
    "warning",
];

pub(super) fn config() -> Fields {
    Fields::new()
        .with("options", OPTIONS.join(" "))
        .with("command", "XADD records * r RECORD, pipelined")
        .with("ack", "appendfsync always: flushed before the reply")
        .with("where", NOTE)
        .with("cpu_s", "the server and the clients")
}

/// A server of one's own, ended when it is dropped.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts one whose files are in a directory, and waits until it answers.
    pub(super) fn start(dir: &Path) -> Result<Self, BenchError> {
        // The port is free now; another program that takes it before the server does makes the start fail.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(BenchError::io("finding a free port"))?
            .port();
        let mut command = Command::new(REDIS_SERVER.name);
        command.args(OPTIONS).arg("--dir").arg(dir).args(["--port", &port.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(BenchError::io("starting redis-server"))?;
        let mut server = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        let began = Instant::now();
        while server.ping().is_err() {
            let ended = server.child.try_wait().map_err(BenchError::io("waiting for redis-server"))?;
            if let Some(status) = ended {
                return Err(BenchError::Wrong(format!("redis-server ended at its start: {status}")));
            }
            if began.elapsed() > START_TIME_MAX {
                return Err(BenchError::Wrong(format!("redis-server does not answer on {}", server.address)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn ping(&self) -> Result<(), BenchError> {
        let mut client = Client::connect(self)?;
        resp::command(&mut client.unsent, &[b"PING"]);
        client.sent = 1;
        client.answers(1, None, &mut |_| ())
    }

    /// Processor seconds so far.
    pub(super) fn cpu_s(&self) -> Result<f64, BenchError> {
        measure::cpu_s_of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is of no more use; that it has ended already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection. Replies come in the order of the commands.
pub(super) struct Client {
    stream: TcpStream,
    unsent: Vec<u8>,
    arrived: Vec<u8>,
    /// Commands so far, and replies to them.
    sent: u64,
    answered: u64,
}

/// Bytes read at a time.
const READ_SIZE: usize = 64 << 10;
/// Bytes of commands gathered before they are sent: more than what is in flight may have no room in the socket.
const GATHER_SIZE: usize = 64 << 10;

impl Client {
    pub(super) fn connect(server: &Server) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(server.address).map_err(BenchError::io("connecting to redis-server"))?;
        stream.set_nodelay(true).map_err(BenchError::io("connecting to redis-server"))?;
        Ok(Self { stream, unsent: Vec::new(), arrived: Vec::new(), sent: 0, answered: 0 })
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        if !self.unsent.is_empty() {
            self.stream.write_all(&self.unsent).map_err(BenchError::io("sending to redis-server"))?;
            self.unsent.clear();
        }
        Ok(())
    }

    /// Reads what there is, or waits so long for it.
    fn receive(&mut self, timeout: Option<Duration>) -> Result<(), BenchError> {
        let doing = || BenchError::io("receiving from redis-server");
        // No time at all would mean no timeout.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        self.stream.set_read_timeout(timeout).map_err(doing())?;
        let before = self.arrived.len();
        self.arrived.resize(before + READ_SIZE, 0);
        let read = self.stream.read(&mut self.arrived[before..]);
        self.arrived.truncate(before + read.as_ref().map_or(0, |size| *size));
        match read {
            Ok(0) => Err(BenchError::Wrong("redis-server closed the connection".into())),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(doing()(error)),
        }
    }

    /// Takes the whole replies from what has arrived.
    fn replies(&mut self, answered: &mut dyn FnMut(u64)) -> Result<usize, BenchError> {
        let (mut at, mut count) = (0, 0);
        while let Some(size) = resp::reply(&self.arrived[at..])? {
            at += size;
            count += 1;
            answered(self.answered);
            self.answered += 1;
        }
        self.arrived.drain(..at);
        Ok(count)
    }
}

impl Producer for Client {
    fn send(&mut self, number: u64, record: &[u8]) -> Result<(), BenchError> {
        debug_assert_eq!(number, self.sent, "replies have no numbers but their order");
        resp::command(&mut self.unsent, &[b"XADD", b"records", b"*", b"r", record]);
        self.sent += 1;
        if self.unsent.len() >= GATHER_SIZE { self.flush() } else { Ok(()) }
    }

    fn answers(
        &mut self,
        wanted: usize,
        until: Option<Instant>,
        answered: &mut dyn FnMut(u64),
    ) -> Result<(), BenchError> {
        self.flush()?;
        let mut count = self.replies(answered)?;
        while count < wanted {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            self.receive(left)?;
            count += self.replies(answered)?;
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs where the package is there, as on every machine that measures.
    #[test]
    fn a_server_is_started_fed_in_order_and_stopped() {
        if REDIS_SERVER.require().is_err() {
            return;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start(dir.path()).expect("it starts");
        let mut client = Client::connect(&server).expect("it listens");
        for number in 0..500 {
            client.send(number, &[b'r'; 700]).expect("it takes them");
        }
        let mut numbers = Vec::new();
        client.answers(500, None, &mut |number| numbers.push(number)).expect("it answers");
        assert_eq!(numbers, (0..500).collect::<Vec<u64>>());
        client.answers(1, Some(Instant::now()), &mut |_| unreachable!("nothing is out")).expect("nothing comes");
        assert!(server.cpu_s().expect("it runs") >= 0.0);
        let written = measure::space_size(dir.path()).expect("its files are there");
        assert!(written > 500 * 700, "it kept what it was sent: {written}");
        let address = server.address;
        drop(server);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}
