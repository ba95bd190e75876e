//! Two connections and a simulated transport between them, in virtual time that jumps from one thing due to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::{Acceptance, ClientRequest, Closed, Config, Connection, Event, RecvBuf, Role, StreamOrder};

use super::{MS, Rng, Seen};

/// How the transport behaves between two ends.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Between these, for each segment.
    pub(crate) delay: (Duration, Duration),
    /// The most bytes that are written, or read, at once.
    pub(crate) chunk_max: usize,
    /// How many bytes may be under way in one direction before a write takes nothing.
    pub(crate) window: usize,
    /// One segment in so many is held up, and all behind it.
    pub(crate) stall_once_in: usize,
    /// For so long at most.
    pub(crate) stall_max: Duration,
    /// When, counted from the start, it breaks, and how.
    pub(crate) cut: Option<(Duration, Cut)>,
}

/// How a transport breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// Nothing passes any more, and nobody is told.
    Silence,
    /// Nothing passes to this end any more, and nobody is told.
    SilenceTo(Role),
    /// Both ends are told at once; what was under way is lost.
    Reset,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            delay: (10 * MS, 10 * MS),
            chunk_max: usize::MAX,
            window: 256 * 1024,
            stall_once_in: usize::MAX,
            stall_max: Duration::ZERO,
            cut: None,
        }
    }
}

impl Network {
    /// Of any kind, by the numbers of `rng`, but without a cut.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        let shortest = MS * rng.below(50) as u32;
        Self {
            delay: (shortest, shortest + MS * rng.below(200) as u32),
            chunk_max: [1, 2, 7, 100, 1500, 16_384][rng.below(6)],
            window: [64, 1000, 65_536][rng.below(3)],
            stall_once_in: [3, 20, usize::MAX][rng.below(3)],
            stall_max: MS * rng.below(3000) as u32,
            cut: None,
        }
    }
}

enum Segment {
    Bytes(Vec<u8>),
    Eof,
    Reset,
}

type App = Box<dyn FnMut(&mut Connection, Instant, &Seen)>;

/// One of the two ends with its part of the transport.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) buf: RecvBuf,
    /// All events so far.
    pub(crate) seen: Vec<Seen>,
    pub(crate) closed: Option<Closed>,
    /// When it was reported.
    pub(crate) closed_at: Option<Instant>,
    pub(crate) orders: Vec<StreamOrder>,
    /// On its way to this end.
    inbound: VecDeque<(Instant, Segment)>,
    /// Nothing that is sent overtakes what was sent before.
    last_arrival: Instant,
    is_writable: bool,
    is_dropped: bool,
    app: App,
}

impl End {
    fn new(connection: Connection, now: Instant, app: App) -> Self {
        Self {
            connection,
            buf: RecvBuf::new(),
            seen: Vec::new(),
            closed: None,
            closed_at: None,
            orders: Vec::new(),
            inbound: VecDeque::new(),
            last_arrival: now,
            is_writable: true,
            is_dropped: false,
            app,
        }
    }

    /// How many bytes are on their way to it.
    fn in_flight(&self) -> usize {
        let lens = self.inbound.iter().map(|(_, segment)| match segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::Eof | Segment::Reset => 0,
        });
        lens.sum()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_dropped && self.closed.is_some()
    }

    /// The end, which must have come.
    #[track_caller]
    pub(crate) fn closed(&self) -> &Closed {
        self.closed.as_ref().expect("the connection has ended")
    }

    /// The texts that arrived.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let texts =
            self.seen.iter().filter_map(|seen| if let Seen::Text(text) = seen { Some(&text[..]) } else { None });
        texts.collect()
    }
}

/// Both ends. The server accepts each request, unless its application is told otherwise.
pub(crate) struct Pair {
    seed: u64,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    network: Network,
    rng: Rng,
    steps: usize,
    pub(crate) steps_max: usize,
}

impl Pair {
    pub(crate) fn new(seed: u64, network: Network, client: Arc<Config>, server: Arc<Config>) -> Self {
        let mut rng = Rng::new(seed);
        let now = Instant::now();
        let mut seed_of = || std::array::from_fn(|_| rng.next() as u8);
        let request = ClientRequest::new("ws://localhost/").unwrap();
        let client = Connection::client(&request, client, seed_of(), now);
        let server = Connection::server(server, seed_of(), now);
        Self {
            seed,
            start: now,
            now,
            client: End::new(client, now, Box::new(|_, _, _| ())),
            server: End::new(server, now, Box::new(accept)),
            network,
            rng,
            steps: 0,
            steps_max: 2_000_000,
        }
    }

    /// Two ends that are open already, with a network and limits of any kind.
    pub(crate) fn open(seed: u64, network: Network, config: Arc<Config>) -> Self {
        let mut pair = Self::new(seed, network, config.clone(), config.clone());
        let mut rng = Rng::new(!seed);
        let mut seed_of = || std::array::from_fn(|_| rng.next() as u8);
        let (client, server) = (seed_of(), seed_of());
        pair.client.connection = Connection::open(Role::Client, config.clone(), client, pair.now);
        pair.server.connection = Connection::open(Role::Server, config, server, pair.now);
        pair
    }

    /// What the client does on each event.
    pub(crate) fn client_app(mut self, app: impl FnMut(&mut Connection, Instant, &Seen) + 'static) -> Self {
        self.client.app = Box::new(app);
        self
    }

    /// What the server does on each event, beside accepting.
    pub(crate) fn server_app(mut self, mut app: impl FnMut(&mut Connection, Instant, &Seen) + 'static) -> Self {
        self.server.app = Box::new(move |connection, now, seen| {
            accept(connection, now, seen);
            app(connection, now, seen);
        });
        self
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(crate) fn is_over(&self) -> bool {
        self.client.is_over() && self.server.is_over()
    }

    /// Goes on until `until` after the start, or until both are over.
    pub(crate) fn run_until(&mut self, until: Duration) {
        let until = self.start + until;
        loop {
            self.settle();
            match self.next_due() {
                Some(next) if next <= until && !self.is_over() => self.now = next,
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    /// Goes on until nothing is due any more.
    pub(crate) fn run(&mut self) {
        loop {
            self.settle();
            match self.next_due() {
                Some(next) if !self.is_over() => self.now = next,
                _ => return,
            }
        }
    }

    /// All that happens at this moment.
    fn settle(&mut self) {
        loop {
            self.cut_when_due();
            let mut progress = false;
            for side in [Role::Client, Role::Server] {
                progress |= self.turn(side);
            }
            if !progress {
                return;
            }
            self.steps += 1;
            assert!(self.steps < self.steps_max, "no end of it: at {:?}", self.elapsed());
        }
    }

    /// One round of the loop that each adapter runs. Returns whether anything happened.
    fn turn(&mut self, side: Role) -> bool {
        let now = self.now;
        let (end, peer) = match side {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        let rng = &mut self.rng;
        let network = &self.network;
        let silent = |to: Role| match network.cut {
            Some((at, cut)) if now >= self.start + at => cut == Cut::Silence || cut == Cut::SilenceTo(to),
            _ => false,
        };
        let peer_role = if side == Role::Client { Role::Server } else { Role::Client };
        let (peer_is_dropped, peer_in_flight) = (peer.is_dropped, peer.in_flight());
        let mut send = |segment: Segment, rng: &mut Rng| {
            if silent(peer_role) {
                // It still fills the window.
                peer.inbound.push_back((now + FOREVER, segment));
                return;
            }
            let spread = (network.delay.1 - network.delay.0).as_millis() as usize;
            let mut delay = network.delay.0 + MS * rng.between(0, spread) as u32;
            if rng.once_in(network.stall_once_in) {
                delay += MS * rng.between(0, network.stall_max.as_millis() as usize) as u32;
            }
            peer.last_arrival = peer.last_arrival.max(now + delay);
            peer.inbound.push_back((peer.last_arrival, segment));
        };
        let mut progress = false;

        // 1. Read.
        while let Some((at, segment)) = end.inbound.front_mut()
            && *at <= now
        {
            match segment {
                _ if end.is_dropped => {}
                Segment::Bytes(_) if !end.connection.wants_read() => break,
                Segment::Bytes(bytes) => {
                    let spare = end.buf.spare_mut();
                    let n = rng.between(1, spare.len().min(bytes.len()).min(network.chunk_max));
                    spare[..n].copy_from_slice(&bytes[..n]);
                    end.buf.advance_received(n);
                    bytes.drain(..n);
                    progress = true;
                    if !bytes.is_empty() {
                        break;
                    }
                }
                Segment::Eof => end.connection.handle_eof(),
                Segment::Reset => {
                    end.connection.handle_transport_error();
                    end.is_writable = false;
                }
            }
            end.inbound.pop_front();
            progress = true;
        }

        // 2. Events.
        while let Some(event) = end.connection.poll_event(now, &mut end.buf) {
            let seen = Seen::from(&event);
            assert!(end.closed.is_none(), "{seen:?} after the end");
            if let Seen::Closed(closed) = &seen {
                end.closed = Some(closed.clone());
                end.closed_at = Some(now);
            }
            (end.app)(&mut end.connection, now, &seen);
            end.seen.push(seen);
            progress = true;
        }

        // 3. Write.
        let under_way = if peer_is_dropped { 0 } else { peer_in_flight };
        let room = network.window.saturating_sub(under_way);
        let mut send_bytes = Vec::new();
        if end.is_writable && room > 0 && !end.connection.outgoing().is_empty() {
            let n = rng.between(1, end.connection.outgoing().len().min(room).min(network.chunk_max));
            send_bytes.extend_from_slice(&end.connection.outgoing()[..n]);
            end.connection.advance_outgoing(now, n);
            progress = true;
        }
        if !send_bytes.is_empty() {
            send(Segment::Bytes(send_bytes), rng);
        }

        // 4. Orders.
        while let Some(order) = end.connection.poll_stream() {
            assert!(!end.orders.contains(&order), "{order:?} came twice");
            assert!(!end.is_dropped, "{order:?} after the transport was dropped");
            end.orders.push(order);
            if order == StreamOrder::ShutdownWrite {
                assert!(end.connection.outgoing().is_empty(), "shut down before all was written");
            }
            if end.is_writable {
                send(Segment::Eof, rng);
            }
            end.is_writable = false;
            end.is_dropped = order == StreamOrder::Drop;
            progress = true;
        }

        // 5. Time.
        if let Some(due) = end.connection.poll_timeout()
            && due <= now
        {
            end.connection.handle_timeout(now);
            let next = end.connection.poll_timeout();
            assert!(next.is_none_or(|next| next > now), "the next deadline is not later than now: a hot loop");
            progress = true;
        }
        if end.is_dropped {
            assert_eq!(end.connection.poll_timeout(), None, "a deadline after the end");
            assert!(end.connection.outgoing().is_empty() && !end.connection.wants_read());
        }
        progress
    }

    fn cut_when_due(&mut self) {
        let Some((at, cut)) = self.network.cut else {
            return;
        };
        if self.now < self.start + at {
            return;
        }
        if cut == Cut::Reset {
            self.network.cut = None;
        }
        for (role, end) in [(Role::Client, &mut self.client), (Role::Server, &mut self.server)] {
            match cut {
                Cut::Reset => {
                    end.inbound.clear();
                    end.inbound.push_back((self.now, Segment::Reset));
                }
                Cut::SilenceTo(to) if to != role => {}
                Cut::Silence | Cut::SilenceTo(_) => {
                    end.inbound.iter_mut().for_each(|(at, _)| *at = self.start + FOREVER);
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let cut = self.network.cut.map(|(at, _)| self.start + at);
        let ends = [&self.client, &self.server];
        let arrivals = ends.iter().filter(|end| !end.is_dropped).filter_map(|end| Some(end.inbound.front()?.0));
        let timeouts = ends.iter().filter_map(|end| end.connection.poll_timeout());
        let horizon = self.start + FOREVER;
        cut.into_iter().chain(arrivals).chain(timeouts).filter(|at| *at > self.now && *at < horizon).min()
    }
}

impl Drop for Pair {
    #[allow(clippy::print_stderr)] // a failure has to tell how to replay it
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a pair failed at {:?}, seed {}, {:?}", self.elapsed(), self.seed, self.network);
        }
    }
}

fn accept(connection: &mut Connection, now: Instant, seen: &Seen) {
    if *seen == Seen::Request {
        connection.accept(now, &Acceptance::new()).unwrap();
    }
}

/// Later than anything that is waited for.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Runs `test` with each of `count` seeds, or with the one of the environment variable `SANSOCKET_SEED` alone.
#[allow(clippy::print_stderr)] // a failure has to tell how to replay it
pub(crate) fn for_each_seed(count: u64, test: impl Fn(u64)) {
    struct Replay(u64);
    impl Drop for Replay {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("replay it with SANSOCKET_SEED={}", self.0);
            }
        }
    }
    let only = number_from_environment("SANSOCKET_SEED");
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        let _replay = Replay(seed);
        test(seed);
    }
}

/// What a variable says; a failure when that is no number, and not what would have been done without it.
pub(crate) fn number_from_environment(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is {value:?}, and no number")))
}
