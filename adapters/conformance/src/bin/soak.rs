//! Load that lasts: many connections to `sansocket serve`, of which some are cut all the time. See tests/soak/README.md.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use sansocket_conformance::Rng;
use sansocket_tokio::{CloseCode, Connector, WebSocket};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Holds many connections to a server for a while, cuts some of them each second, and counts what is lost, repeated or left behind.
#[derive(Parser)]
struct Args {
    /// The server, which is started as `SERVER serve …`
    #[arg(long, default_value = "target/release/sansocket")]
    server: PathBuf,
    /// Its runtime
    #[arg(long, default_value = "tokio")]
    runtime: String,
    /// How many connections there are at any time
    #[arg(long, default_value_t = 10_000)]
    connections: u64,
    /// For how long, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// One connection in so many is cut each second
    #[arg(long, default_value_t = 100)]
    cut_one_in: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(soak(&args))) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("fault: {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!(
                "soak: {error}; build the server by `cargo build --release -p sansocket-cli`, and see `ulimit -n`"
            );
            ExitCode::FAILURE
        }
    }
}

/// Returns what did not hold.
async fn soak(args: &Args) -> io::Result<Vec<String>> {
    let server = Server::start(args)?;
    let idle = server.usage_at_rest().await?;
    let shared = Arc::new(Shared::default());
    let mut users = JoinSet::new();
    for number in 0..args.connections {
        users.spawn(User::new(number, server.address, args.cut_one_in, &shared).live());
        if number % AT_ONCE == AT_ONCE - 1 {
            sleep(Duration::from_millis(20)).await; // The listener's queue is short.
        }
    }

    let begun = Instant::now();
    let mut usages = Vec::new();
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        sleep(Duration::from_secs(args.seconds).div_f64(REPORTS)).await;
        let usage = server.usage()?;
        println!("{:>5} s: {}; {usage}", begun.elapsed().as_secs(), shared.counts());
        usages.push((usage.resident, shared.cut.load(Ordering::Relaxed)));
    }

    shared.is_over.store(true, Ordering::Relaxed);
    let all_ended = timeout(PATIENCE, async { while users.join_next().await.is_some() {} }).await;
    let mut faults = std::mem::take(&mut *shared.faults.lock().unwrap_or_else(PoisonError::into_inner));
    if all_ended.is_err() {
        faults.push(format!("{} users wait after {PATIENCE:?} still", users.len()));
    }
    let until = Instant::now() + PATIENCE;
    let mut left = server.usage()?;
    while (left.descriptors > idle.descriptors || left.threads > idle.threads + THREADS_SLACK) && Instant::now() < until
    {
        sleep(Duration::from_millis(100)).await;
        left = server.usage()?;
    }
    println!("at the end: {left}; {}", shared.latencies());
    if left.descriptors > idle.descriptors {
        faults.push(format!("{} descriptors are left behind", left.descriptors - idle.descriptors));
    }
    if left.threads > idle.threads + THREADS_SLACK {
        faults.push(format!("{} threads are left behind", left.threads - idle.threads));
    }
    // What the allocator keeps settles early; what each connection leaves behind goes on growing.
    if let (Some((early, cut_early)), Some((last, cut))) = (usages.get(usages.len() / 3), usages.last()) {
        let (grown, cuts) = (last.saturating_sub(*early), cut - cut_early);
        println!("it grew by {} kB while {cuts} connections were cut", grown / 1024);
        if grown > cuts * GROWN_A_CUT_MAX + MEMORY_SLACK {
            faults.push(format!("the server grew from {} to {} kB in {cuts} cuts", early / 1024, last / 1024));
        }
    }
    if shared.echoed.load(Ordering::Relaxed) < args.connections * args.seconds / 4 {
        faults.push("the server was too slow for this test to mean anything".to_owned());
    }
    Ok(faults)
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    open: AtomicU64,
    opened: AtomicU64,
    cut: AtomicU64,
    echoed: AtomicU64,
    faults: Mutex<Vec<String>>,
    /// How many echoes took less than 2^i µs, and not less than half of that.
    latencies: [AtomicU64; 32],
}

impl Shared {
    fn counts(&self) -> String {
        let [open, opened, cut, echoed] =
            [&self.open, &self.opened, &self.cut, &self.echoed].map(|count| count.load(Ordering::Relaxed));
        format!("{open} open, {opened} opened, {cut} cut, {echoed} messages came back")
    }

    fn latencies(&self) -> String {
        let counts: Vec<u64> = self.latencies.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let below = |part: f64| {
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen as f64 >= part * total as f64
            });
            (1_u64 << place.unwrap_or_default()) as f64 / 1000.0
        };
        format!("an echo took less than {} ms (half), {} ms (99 %), {} ms (all)", below(0.5), below(0.99), below(1.0))
    }
}

/// One that talks all the time, over one connection after the other.
struct User {
    number: u64,
    server: SocketAddr,
    cut_one_in: usize,
    shared: Arc<Shared>,
    rng: Rng,
    next: u64,
}

enum Parting {
    Cut,
    Over,
}

impl User {
    fn new(number: u64, server: SocketAddr, cut_one_in: usize, shared: &Arc<Shared>) -> Self {
        Self { number, server, cut_one_in, shared: Arc::clone(shared), rng: Rng::new(number), next: 0 }
    }

    async fn live(mut self) {
        loop {
            match self.live_once().await {
                Ok(Parting::Cut) => {}
                Ok(Parting::Over) => return,
                Err(error) => {
                    let fault = format!("user {}: {error}", self.number);
                    self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
                    return;
                }
            }
        }
    }

    async fn live_once(&mut self) -> Result<Parting, Box<dyn std::error::Error + Send + Sync>> {
        let socket = TcpSocket::new_v4()?;
        // Each address of this machine has ports of its own.
        socket.bind(([127, 0, 1, 1 + (self.number % 100) as u8], 0).into())?;
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut socket = Connector::new("ws://localhost/soak")?.handshake(stream).await?;
        self.shared.opened.fetch_add(1, Ordering::Relaxed);
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        let parting = self.talk(&mut socket).await;
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        match parting? {
            Parting::Cut => {
                self.cut(socket).await;
                Ok(Parting::Cut)
            }
            Parting::Over => {
                let closed = timeout(PATIENCE, socket.close(CloseCode::NORMAL, "")).await??;
                if closed.clean { Ok(Parting::Over) } else { Err(format!("not closed cleanly: {closed}").into()) }
            }
        }
    }

    /// Sends a few messages at once, about once a second, and checks that each comes back once, whole and in order.
    async fn talk(
        &mut self,
        socket: &mut WebSocket<TcpStream>,
    ) -> Result<Parting, Box<dyn std::error::Error + Send + Sync>> {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let first = self.next;
            let count = 1 + self.rng.below(3) as u64;
            for number in first..first + count {
                socket.send(message(self.number, number)).await?;
            }
            if self.rng.once_in(self.cut_one_in) {
                self.next = first + count;
                return Ok(Parting::Cut); // With echoes under way.
            }
            for number in first..first + count {
                let echo = timeout(PATIENCE, socket.recv()).await??.ok_or("closed by the server")?;
                if echo.as_bytes() != message(self.number, number) {
                    return Err(format!("message {number} is not what came back").into());
                }
            }
            self.next = first + count;
            let place = begun.elapsed().as_micros().max(1).ilog2() as usize + 1;
            if let Some(bucket) = self.shared.latencies.get(place) {
                bucket.fetch_add(count, Ordering::Relaxed);
            }
            self.shared.echoed.fetch_add(count, Ordering::Relaxed);
            sleep(Duration::from_millis(500 + self.rng.below(1000) as u64)).await;
        }
        Ok(Parting::Over)
    }

    /// Ends the connection in one of the ways in which networks and programs do.
    async fn cut(&mut self, mut socket: WebSocket<TcpStream>) {
        self.shared.cut.fetch_add(1, Ordering::Relaxed);
        match self.rng.below(4) {
            0 => drop(socket.with_transport(|stream| stream.0.set_zero_linger())),
            1 => return socket.abort(),
            2 => {
                // In the middle of a frame, and without a Close.
                let _ = socket.with_transport(|stream| stream.0.try_write(b"\x82\xFE\xFF\xFF\0\0\0\0abc"));
            }
            _ => {
                // A program that forgets its connection: the keeper closes it.
                return drop(socket);
            }
        }
        let _ = timeout(Duration::from_millis(50), socket.recv()).await;
        socket.abort();
    }
}

/// Not the same for any two, and of any length.
fn message(user: u64, number: u64) -> Vec<u8> {
    let mut message = format!("{user} {number} ").into_bytes();
    let mut rng = Rng::new(user ^ number << 32);
    let len = [20, 125, 1000, 4000][rng.below(4)];
    message.resize(len, b'a' + (number % 26) as u8);
    message
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(args: &Args) -> io::Result<Self> {
        let mut process = Command::new(&args.server)
            .args(["serve", "--listen", "127.0.0.1:0", "--quiet", "--max-connections", "100000"])
            .args(["--runtime", &args.runtime])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other("the server did not say where it listens"))?;
        Ok(Self { process, address })
    }

    /// After a first connection, for which a runtime makes what it keeps.
    async fn usage_at_rest(&self) -> io::Result<Usage> {
        let url = format!("ws://{}/", self.address);
        let mut socket = sansocket_tokio::connect(&url).await.map_err(io::Error::other)?;
        socket.close(CloseCode::NORMAL, "").await.map_err(io::Error::other)?;
        sleep(Duration::from_millis(500)).await;
        self.usage()
    }

    fn usage(&self) -> io::Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{}", self.process.id()));
        let status = std::fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
        };
        Ok(Usage {
            resident: field("VmRSS") * 1024,
            threads: field("Threads"),
            descriptors: entries(&folder.join("fd"))?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn entries(folder: &Path) -> io::Result<u64> {
    Ok(std::fs::read_dir(folder)?.count() as u64)
}

/// What a process holds.
struct Usage {
    resident: u64,
    threads: u64,
    descriptors: u64,
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident, threads, descriptors } = self;
        write!(f, "the server has {} kB, {descriptors} descriptors, {threads} threads", resident / 1024)
    }
}

/// How many connect without a pause.
const AT_ONCE: u64 = 50;
const REPORTS: f64 = 10.0;
/// For anything at all, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Runtimes make helpers of their own.
const THREADS_SLACK: u64 = 4;
/// An idle connection that is left behind is 1,750 bytes.
const GROWN_A_CUT_MAX: u64 = 500;
/// What the allocator keeps differs so much between one moment and another under load.
const MEMORY_SLACK: u64 = 8 << 20;
