//! The binary as a child process. Whoever waits for it waits for an event, and no longer than [`PATIENCE`].

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command to its end, with no input.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    let child = spawn(arguments, Stdio::null());
    Process::of(child).end()
}

/// `sansocket connect`.
pub(crate) struct Client(Process);

impl Client {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self(Process::of(spawn(&[&["connect"], arguments].concat(), Stdio::piped())))
    }

    pub(crate) fn type_in(&mut self, input: impl AsRef<[u8]>) {
        self.0.stdin.as_mut().unwrap().write_all(input.as_ref()).unwrap();
    }

    pub(crate) fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.0.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// The next line of the standard error that has this in it.
    pub(crate) fn stderr_until(&mut self, part: &str) -> String {
        let stderr = self.0.stderr.as_mut().unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "{part:?} is not told");
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn close_stdout(&mut self) {
        self.0.stdout = None;
    }

    /// Types, ends the input, and waits for the end.
    pub(crate) fn end_of_input(mut self, input: impl AsRef<[u8]>) -> Ended {
        let (mut stdin, input) = (self.0.stdin.take().unwrap(), input.as_ref().to_vec());
        // In a thread, since the client prints meanwhile; and it may end before it has read all.
        thread::spawn(move || stdin.write_all(&input));
        self.0.end()
    }

    /// Waits for the end, the input still open.
    pub(crate) fn end(self) -> Ended {
        self.0.end()
    }
}

/// `sansocket serve` on a free port, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    process: Process,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    pub(crate) fn start_at(address: &str, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", address], arguments].concat();
        let mut process = Process::of(spawn(&arguments, Stdio::null()));
        let mut line = String::new();
        process.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").and_then(|line| line.strip_suffix('\n')).unwrap();
        Self { address: address.to_owned(), process }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The next line that it logs, without its end.
    pub(crate) fn log_line(&mut self) -> String {
        let mut line = String::new();
        self.process.stderr.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }
}

struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
    /// Dropped when the process has ended; until then a watchdog runs, so that a hang is a failure.
    alive: Option<mpsc::Sender<()>>,
}

impl Process {
    fn of(mut child: Child) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let id = child.id().to_string();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-9", &id]).status();
            }
        });
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take().map(BufReader::new),
            child,
            alive: Some(alive),
        }
    }

    fn end(mut self) -> Ended {
        let stderr = self.stderr.take().map(|stderr| thread::spawn(move || read_all(stderr)));
        let stdout = self.stdout.take().map(read_all).unwrap_or_default();
        let stderr = stderr.map(|stderr| stderr.join().unwrap()).unwrap_or_default();
        Ended { status: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.alive = None;
    }
}

fn spawn(arguments: &[&str], stdin: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sansocket"))
        .args(arguments)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Longer than anything here takes on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(60);
