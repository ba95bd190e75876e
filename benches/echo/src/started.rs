//! A server in a process of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};

use crate::server::RAW;

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// It ends when this is dropped.
pub(crate) struct Started {
    process: Child,
    port: u16,
    is_raw: bool,
    counts: Option<PathBuf>,
}

impl Started {
    pub(crate) fn server(kind: &str) -> Self {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", SERVER_CORE]).arg(program());
        Self::start(kind, command, None)
    }

    pub(crate) fn server_under_callgrind(kind: &str) -> Self {
        let counts = std::env::temp_dir().join(format!("callgrind-echo-{}", std::process::id()));
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", counts.display()));
        // See the harness: copies are to go by vector registers.
        command.env("GLIBC_TUNABLES", harness::GLIBC_TUNABLES);
        command.arg(program());
        Self::start(kind, command, Some(counts))
    }

    fn start(kind: &str, mut command: Command, counts: Option<PathBuf>) -> Self {
        let command = command.args(["--serve", kind]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the server starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("the server tells its port");
        let port = line.trim().parse().expect("the server tells its port");
        Self { process, port, is_raw: kind == RAW, counts }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// In user space and in the kernel, of the thread that serves.
    pub(crate) fn processor_time(&self) -> Duration {
        let schedstat = fs::read_to_string(format!("/proc/{}/schedstat", self.process.id())).expect("Linux tells it");
        let nanos = schedstat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("the first number is the time"))
    }

    /// In bytes.
    pub(crate) fn resident_len(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("Linux tells it");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// The instructions that it took in all, under callgrind.
    pub(crate) fn stop_and_count(mut self) -> u64 {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("it ends with its standard input");
        assert!(status.success(), "{status}");
        let counts = self.counts.clone().expect("it runs under callgrind");
        let total = harness::total_instructions(&counts).expect("callgrind has written its output");
        fs::remove_file(counts).expect("callgrind's output can be removed");
        total
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It has ended already, or does now.
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    std::env::current_exe().expect("the program's own path")
}

pub(crate) fn pin_to_the_load_core() {
    let pid = getpid().as_raw_nonzero().to_string();
    let pinned = Command::new("taskset").args(["--cpu-list", "--pid", LOAD_CORE, &pid]).stdout(Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset pins the load to core {LOAD_CORE}");
}

/// For this process and the servers it starts from now on.
pub(crate) fn raise_the_limit_of_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit it may be raised");
}
