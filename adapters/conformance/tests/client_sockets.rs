//! A client that outlives its connections, on real sockets and every adapter: servers that are killed and come back, a link that goes dead.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sansocket::client::{
    Auth, AuthAnswer, Cause, ClientConfig, ClientEvent, ClientState, DropReason, End, Jitter, Outcome, Prepared,
};
use sansocket::deflate::DeflateConfig;
use sansocket::json::{JsonConfig, JsonEvent};
use sansocket::{Acceptance, ClientOptions, CloseCode, Config, Connection, Event, RecvBuf};
use sansocket_async::{Connector, Dial};
use sansocket_async_std::{AsyncStd, Smol};
use sansocket_tokio::Tokio;

const MS: Duration = Duration::from_millis(1);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of any adapter, as a blocking one.
trait Subject: Sized {
    type Receipt;

    fn start(url: &str, config: ClientConfig) -> Self;
    /// Asks for the URL before each attempt.
    fn start_asking(url: &str, config: ClientConfig, next: impl Fn() -> Prepared + Send + Sync + 'static) -> Self;
    fn send(&self, text: &str) -> Self::Receipt;
    fn outcome(&self, receipt: Self::Receipt) -> Outcome;
    /// The next message, or `Err` with the end as an error.
    fn recv(&mut self) -> Result<Option<String>, String>;
    fn is_soon(&self, state: ClientState) -> bool;
    /// The next event that is what is looked for.
    fn find(&mut self, wanted: fn(&ClientEvent) -> bool) -> ClientEvent;
    fn close(&self) -> End;
    fn ended(&self) -> End;
    fn abort(&self);
    /// Sends what a reader gives, and returns how much that was.
    fn pipe_from(&self, bytes: &'static [u8]) -> u64;
    /// What is received until the end.
    fn pipe_to_end(&mut self) -> Vec<u8>;
    /// What a request comes to, as JSON or as the words of its error.
    fn request(&self, kind: &str, payload: &str, timeout: Duration) -> Result<String, String>;
    /// Subscribes to a type, and to the rest, has `act` done, and returns the next payload of each.
    fn next_of_type_and_others(&self, kind: &str, act: impl FnOnce(&Self)) -> [String; 2];
    fn send_typed(&self, kind: &str, payload: &str);
}

struct Blocking {
    client: sansocket_std::Client,
    inbox: sansocket_std::Inbox,
    events: sansocket_std::Events,
}

impl Blocking {
    fn of((client, inbox): (sansocket_std::Client, sansocket_std::Inbox)) -> Self {
        Self { events: client.events(), client, inbox }
    }
}

impl Subject for Blocking {
    type Receipt = sansocket_std::Receipt;

    fn start(url: &str, config: ClientConfig) -> Self {
        Self::of(sansocket_std::Connector::new(url).unwrap().client(config).unwrap())
    }

    fn start_asking(url: &str, config: ClientConfig, next: impl Fn() -> Prepared + Send + Sync + 'static) -> Self {
        Self::of(sansocket_std::Connector::new(url).unwrap().client_with(config, move |_| next()).unwrap())
    }

    fn send(&self, text: &str) -> Self::Receipt {
        self.client.send_tracked(text).unwrap()
    }

    fn outcome(&self, receipt: Self::Receipt) -> Outcome {
        receipt.outcome_timeout(PATIENCE).expect("an outcome in time")
    }

    fn recv(&mut self) -> Result<Option<String>, String> {
        let received = self.inbox.recv_timeout(PATIENCE).expect("something in time");
        received.map(|message| message.map(|message| text(&message))).map_err(|error| error.to_string())
    }

    fn is_soon(&self, state: ClientState) -> bool {
        self.client.watch().until(state, PATIENCE)
    }

    fn find(&mut self, wanted: fn(&ClientEvent) -> bool) -> ClientEvent {
        self.events.by_ref().map(Result::unwrap).find(wanted).expect("such an event")
    }

    fn close(&self) -> End {
        self.client.close(CloseCode::NORMAL, "", PATIENCE).unwrap()
    }

    fn ended(&self) -> End {
        self.client.ended()
    }

    fn abort(&self) {
        self.client.abort();
    }

    fn pipe_from(&self, bytes: &'static [u8]) -> u64 {
        self.client.pipe_from(bytes).unwrap()
    }

    fn pipe_to_end(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        assert_eq!(self.inbox.pipe_to(&mut written).unwrap(), written.len() as u64);
        written
    }

    fn request(&self, kind: &str, payload: &str, timeout: Duration) -> Result<String, String> {
        let answer = self.client.request(kind, payload, timeout);
        answer.map(|answer| answer.as_str().to_owned()).map_err(|error| error.to_string())
    }

    fn next_of_type_and_others(&self, kind: &str, act: impl FnOnce(&Self)) -> [String; 2] {
        let (mut of_type, mut others) = (self.client.subscribe(kind), self.client.subscribe_to_others());
        act(self);
        [&mut of_type, &mut others]
            .map(|subscription| subscription.recv_timeout(PATIENCE).unwrap().unwrap().payload.as_str().to_owned())
    }

    fn send_typed(&self, kind: &str, payload: &str) {
        self.client.send_typed(kind, payload).unwrap();
    }
}

/// A runtime that can be waited for.
trait Block: Dial {
    fn block_on<O>(future: impl Future<Output = O>) -> O;

    /// What `future` comes to, which is soon.
    fn soon<O>(future: impl Future<Output = O>) -> O {
        let sleep = async {
            Self::sleep_until(Self::now() + PATIENCE).await;
        };
        Self::block_on(async {
            match futures_util::future::select(std::pin::pin!(future), std::pin::pin!(sleep)).await {
                futures_util::future::Either::Left((done, _)) => done,
                futures_util::future::Either::Right(_) => panic!("not in time"),
            }
        })
    }
}

impl Block for Tokio {
    fn block_on<O>(future: impl Future<Output = O>) -> O {
        static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> = std::sync::LazyLock::new(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
        });
        RUNTIME.block_on(future)
    }
}

impl Block for Smol {
    fn block_on<O>(future: impl Future<Output = O>) -> O {
        smol::block_on(future)
    }
}

impl Block for AsyncStd {
    fn block_on<O>(future: impl Future<Output = O>) -> O {
        async_std::task::block_on(future)
    }
}

struct Asynchronous<R: Block> {
    client: sansocket_async::Client<R>,
    inbox: sansocket_async::Inbox<R>,
    events: sansocket_async::Events,
}

impl<R: Block> Asynchronous<R> {
    fn of((client, inbox): (sansocket_async::Client<R>, sansocket_async::Inbox<R>)) -> Self {
        Self { events: client.events(), client, inbox }
    }
}

macro_rules! asynchronous {
    ($runtime:ident, $reader:expr, $writer:expr, $written:expr) => {
        impl Subject for Asynchronous<$runtime> {
            type Receipt = sansocket_async::Receipt;

            fn start(url: &str, config: ClientConfig) -> Self {
                $runtime::block_on(async { Self::of(Connector::new(url).unwrap().client(config).unwrap()) })
            }

            fn start_asking(
                url: &str,
                config: ClientConfig,
                next: impl Fn() -> Prepared + Send + Sync + 'static,
            ) -> Self {
                let ask = move |_| std::future::ready(next());
                $runtime::block_on(async { Self::of(Connector::new(url).unwrap().client_with(config, ask).unwrap()) })
            }

            fn send(&self, text: &str) -> Self::Receipt {
                $runtime::soon(self.client.send_tracked(text)).unwrap()
            }

            fn outcome(&self, receipt: Self::Receipt) -> Outcome {
                $runtime::soon(receipt)
            }

            fn recv(&mut self) -> Result<Option<String>, String> {
                let received = $runtime::soon(self.inbox.recv());
                received.map(|message| message.map(|message| text(&message))).map_err(|error| error.to_string())
            }

            fn is_soon(&self, state: ClientState) -> bool {
                $runtime::soon(async { self.client.watch().until(state).await })
            }

            fn find(&mut self, wanted: fn(&ClientEvent) -> bool) -> ClientEvent {
                $runtime::soon(async {
                    loop {
                        let event = self.events.recv().await.expect("such an event").unwrap();
                        if wanted(&event) {
                            return event;
                        }
                    }
                })
            }

            fn close(&self) -> End {
                $runtime::soon(self.client.close(CloseCode::NORMAL, "", PATIENCE)).unwrap()
            }

            fn ended(&self) -> End {
                $runtime::soon(self.client.ended())
            }

            fn abort(&self) {
                self.client.abort();
            }

            fn pipe_from(&self, bytes: &'static [u8]) -> u64 {
                $runtime::soon(self.client.pipe_from($reader(bytes))).unwrap()
            }

            fn pipe_to_end(&mut self) -> Vec<u8> {
                let mut writer = $writer;
                $runtime::soon(self.inbox.pipe_to(&mut writer)).unwrap();
                $written(writer)
            }

            fn request(&self, kind: &str, payload: &str, timeout: Duration) -> Result<String, String> {
                let answer = $runtime::soon(self.client.request(kind, payload, timeout));
                answer.map(|answer| answer.as_str().to_owned()).map_err(|error| error.to_string())
            }

            fn next_of_type_and_others(&self, kind: &str, act: impl FnOnce(&Self)) -> [String; 2] {
                let (mut of_type, mut others) = (self.client.subscribe(kind), self.client.subscribe_to_others());
                act(self);
                [&mut of_type, &mut others]
                    .map(|subscription| $runtime::soon(subscription.recv()).unwrap().payload.as_str().to_owned())
            }

            fn send_typed(&self, kind: &str, payload: &str) {
                $runtime::soon(self.client.send_typed(kind, payload)).unwrap();
            }
        }
    };
}

asynchronous!(Tokio, |bytes: &'static [u8]| bytes, Vec::new(), |written: Vec<u8>| written);
asynchronous!(
    Smol,
    futures_util::io::Cursor::new,
    futures_util::io::Cursor::new(Vec::new()),
    |written: futures_util::io::Cursor<Vec<u8>>| written.into_inner()
);
asynchronous!(
    AsyncStd,
    futures_util::io::Cursor::new,
    futures_util::io::Cursor::new(Vec::new()),
    |written: futures_util::io::Cursor<Vec<u8>>| written.into_inner()
);

fn text(message: &sansocket::Message) -> String {
    String::from_utf8(message.as_bytes().to_vec()).unwrap()
}

/// A server that sends back what it gets, and notes it.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
    /// How connections ended: the code of the client.
    closed: Arc<Mutex<Vec<Option<u16>>>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    is_killed: Arc<AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            closed: Arc::default(),
            streams: Arc::default(),
            is_killed: Arc::default(),
            accepting: None,
        };
        let (received, closed) = (Arc::clone(&server.received), Arc::clone(&server.closed));
        let (streams, is_killed) = (Arc::clone(&server.streams), Arc::clone(&server.is_killed));
        server.accepting = Some(thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if is_killed.load(Ordering::SeqCst) {
                    return;
                }
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                let (received, closed) = (Arc::clone(&received), Arc::clone(&closed));
                thread::spawn(move || serve(stream, &received, &closed));
            }
        }));
        server
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// All streams end without a farewell, and the port is free.
    fn kill(mut self) {
        self.is_killed.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.accepting.take().unwrap().join().unwrap();
        for stream in self.streams.lock().unwrap().drain(..) {
            // It may be gone already.
            stream.shutdown(Shutdown::Both).unwrap_or(());
        }
    }
}

fn serve(stream: TcpStream, received: &Mutex<Vec<String>>, closed: &Mutex<Vec<Option<u16>>>) {
    let Ok(mut socket) = sansocket_std::accept(stream) else { return };
    while let Ok(Some(message)) = socket.recv() {
        match message.as_text() {
            Some("good credentials") => drop(socket.send("welcome")),
            Some("bad credentials") => drop(socket.send("go away")),
            _ => {
                received.lock().unwrap().push(text(&message));
                let _ = socket.send(message);
            }
        }
    }
    closed.lock().unwrap().push(socket.closed().and_then(|closed| closed.peer_code).map(|code| code.0));
}

/// A link that forwards until it goes dead, in silence. New ones are alive.
struct Link {
    address: SocketAddr,
    dead: Arc<AtomicBool>,
    forwards: Arc<Mutex<Arc<AtomicBool>>>,
    last_forwarded: Arc<Mutex<Instant>>,
}

impl Link {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let dead: Arc<AtomicBool> = Arc::default();
        let forwards = Arc::new(Mutex::new(Arc::clone(&dead)));
        let current = Arc::clone(&forwards);
        let last_forwarded = Arc::new(Mutex::new(Instant::now()));
        let last = Arc::clone(&last_forwarded);
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = TcpStream::connect(server).unwrap();
                let dead = Arc::clone(&current.lock().unwrap());
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    let (dead, last) = (Arc::clone(&dead), Arc::clone(&last));
                    thread::spawn(move || {
                        let mut buf = [0; 4096];
                        while let Ok(n @ 1..) = from.read(&mut buf) {
                            // Dead, it takes what comes, and says nothing.
                            if dead.load(Ordering::SeqCst) {
                                continue;
                            }
                            *last.lock().unwrap() = Instant::now();
                            if to.write_all(&buf[..n]).is_err() {
                                break;
                            }
                        }
                        if !dead.load(Ordering::SeqCst) {
                            let _ = to.shutdown(Shutdown::Both);
                        }
                    });
                }
            }
        });
        Self { address, dead, forwards, last_forwarded }
    }

    /// What goes over it now never arrives.
    fn die(&self) {
        *self.forwards.lock().unwrap() = Arc::default();
        self.dead.store(true, Ordering::SeqCst);
    }
}

/// Soon there again.
fn hasty() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.backoff.first = 30 * MS;
    config.backoff.cap = 60 * MS;
    config.backoff.jitter = Jitter::None;
    config
}

fn with_credentials(credentials: &str) -> ClientConfig {
    let mut config = hasty();
    config.auth = Some(Auth::new(credentials, |message| match message.as_text() {
        Some("welcome") => AuthAnswer::Accepted,
        Some("go away") => AuthAnswer::Refused("go away".into()),
        _ => AuthAnswer::Other,
    }));
    config
}

/// What is sent before that may be lost with the connection.
fn is_lost(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Lost { .. })
}

fn what_is_sent_while_the_server_is_away_arrives_in_order<S: Subject>() {
    let server = Server::start();
    let (url, address) = (server.url(), server.address);
    let mut client = S::start(&url, hasty());
    assert_eq!(client.outcome(client.send("first")), Outcome::Written);
    assert_eq!(client.recv().unwrap().as_deref(), Some("first"));
    server.kill();
    assert!(client.is_soon(ClientState::Waiting));
    client.find(is_lost);
    let receipts: Vec<_> = (0..20).map(|number| client.send(&number.to_string())).collect();
    let server = Server::at(address);
    for number in 0..20 {
        assert_eq!(client.recv().unwrap(), Some(number.to_string()));
    }
    for receipt in receipts {
        assert_eq!(client.outcome(receipt), Outcome::Written);
    }
    client.find(|event| matches!(event, ClientEvent::Opened { again: true, .. }));
    assert!(matches!(client.close(), End::Closed(Some(closed)) if closed.clean));
    assert_eq!(client.recv(), Ok(None));
    assert_eq!(server.received(), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

fn a_link_that_goes_dead_is_noticed_by_its_heartbeat<S: Subject>() {
    let server = Server::start();
    let link = Link::to(server.address);
    let mut config = hasty();
    config.heartbeat.interval = Some(100 * MS);
    config.heartbeat.timeout = 2000 * MS;
    let mut client = S::start(&format!("ws://{}/", link.address), config);
    client.send("before");
    assert_eq!(client.recv().unwrap().as_deref(), Some("before"));
    link.die();
    client.find(|event| matches!(event, ClientEvent::Lost { cause: Cause::HeartbeatLost, .. }));
    let silent = link.last_forwarded.lock().unwrap().elapsed();
    assert!(silent >= 2000 * MS, "{silent:?}");
    client.send("after");
    assert_eq!(client.recv().unwrap().as_deref(), Some("after"));
    assert!(matches!(client.close(), End::Closed(Some(closed)) if closed.clean));
}

/// While messages wait to be received, the rest of them waits in the stream, and the peer is gone when something is written.
fn a_write_that_fails_does_not_hide_what_arrived_before<S: Subject>() {
    // All of it has room in the client's socket.
    const MESSAGES: usize = 800;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let mut socket = sansocket_std::accept(listener.accept().unwrap().0).unwrap();
        for number in 0..MESSAGES {
            socket.feed(format!("{number} {}", "x".repeat(50))).unwrap();
        }
        socket.flush().unwrap();
        drop(socket);
        let mut socket = sansocket_std::accept(listener.accept().unwrap().0).unwrap();
        socket.send("again").unwrap();
        while let Ok(Some(_)) = socket.recv() {}
    });
    let mut client = S::start(&url, hasty());
    assert!(client.is_soon(ClientState::Open));
    // The first write is answered by a reset, a later one fails.
    for _ in 0..5 {
        thread::sleep(50 * MS);
        client.send("x");
    }
    for number in 0..MESSAGES {
        let message = client.recv().unwrap().unwrap();
        assert_eq!(message.split(' ').next(), Some(&*number.to_string()));
    }
    assert_eq!(client.recv().unwrap().as_deref(), Some("again"));
    client.close();
    serving.join().unwrap();
}

fn credentials_go_first_on_each_connection<S: Subject>() {
    let server = Server::start();
    let address = server.address;
    let mut client = S::start(&server.url(), with_credentials("good credentials"));
    client.send("one");
    assert_eq!(client.recv().unwrap().as_deref(), Some("one"));
    server.kill();
    client.find(is_lost);
    let server = Server::at(address);
    client.send("two");
    assert_eq!(client.recv().unwrap().as_deref(), Some("two"));
    assert_eq!(server.received(), ["two"]);
    client.abort();
    assert_eq!(client.ended(), End::Aborted);
    assert_eq!(client.recv(), Ok(None));
}

fn refused_credentials_end_the_client_and_whoever_receives_is_told<S: Subject>() {
    let server = Server::start();
    let (url, address) = (server.url(), server.address);
    server.kill();
    let mut client = S::start(&url, with_credentials("bad credentials"));
    let receipt = client.send("never"); // Before the server has said anything.
    let server = Server::at(address);
    assert_eq!(client.ended(), End::Stopped(Cause::AuthRefused("go away".into())));
    assert!(client.recv().unwrap_err().contains("go away"));
    assert_eq!(client.outcome(receipt), Outcome::Dropped(DropReason::Ended));
    assert_eq!(server.received(), [""; 0]);
}

fn a_close_waits_until_the_server_is_there_and_has_everything<S: Subject + Send + 'static>() {
    let server = Server::start();
    let (url, address) = (server.url(), server.address);
    server.kill();
    let client = S::start(&url, hasty());
    for number in 0..5 {
        client.send(&number.to_string());
    }
    let closing = thread::spawn(move || client.close());
    thread::sleep(100 * MS);
    let server = Server::at(address);
    assert!(matches!(closing.join().unwrap(), End::Closed(Some(closed)) if closed.clean));
    assert_eq!(server.received(), ["0", "1", "2", "3", "4"]);
}

fn a_client_without_handles_sends_what_is_queued_and_goes_away<S: Subject>() {
    let server = Server::start();
    let client = S::start(&server.url(), hasty());
    client.send("last words");
    drop(client);
    let until = Instant::now() + PATIENCE;
    while server.closed.lock().unwrap().is_empty() && Instant::now() < until {
        thread::sleep(5 * MS);
    }
    assert_eq!(*server.closed.lock().unwrap(), [Some(1001)]);
    assert_eq!(server.received(), ["last words"]);
}

fn the_url_may_be_another_each_time<S: Subject>() {
    let (first, second) = (Server::start(), Server::start());
    let urls = Mutex::new(vec![second.url(), first.url()]);
    let mut client = S::start_asking("ws://invalid.invalid/", hasty(), move || match urls.lock().unwrap().pop() {
        Some(url) => Prepared::Request(Box::new(ClientOptions::new(&url).unwrap())),
        None => Prepared::Unchanged,
    });
    client.send("one");
    assert_eq!(client.recv().unwrap().as_deref(), Some("one"));
    assert_eq!(first.received(), ["one"]);
    first.kill();
    client.find(is_lost);
    client.send("two");
    assert_eq!(client.recv().unwrap().as_deref(), Some("two"));
    assert_eq!(second.received(), ["two"]);
}

fn a_reader_is_sent_and_a_writer_gets_what_comes_back<S: Subject + Send + 'static>() {
    static BYTES: [u8; 100_000] = [b'x'; 100_000];
    let server = Server::start();
    let mut client = S::start(&server.url(), hasty());
    assert_eq!(client.pipe_from(&BYTES), 100_000);
    // The echo is on its way when the last byte has arrived.
    let until = Instant::now() + PATIENCE;
    while server.received().iter().map(String::len).sum::<usize>() < BYTES.len() && Instant::now() < until {
        thread::sleep(5 * MS);
    }
    thread::sleep(50 * MS);
    assert!(matches!(client.close(), End::Closed(Some(_))));
    assert_eq!(client.pipe_to_end().len(), BYTES.len());
}

/// More than the inbox holds: the echo waits with the server until it is received.
fn many_threads_send_and_each_keeps_its_order<S: Subject + Sync>() {
    let server = Server::start();
    let mut client = S::start(&server.url(), hasty());
    thread::scope(|scope| {
        for thread in 0..4 {
            let client = &client;
            scope.spawn(move || (0..300).for_each(|number| drop(client.send(&format!("{thread} {number}")))));
        }
    });
    let mut next = [0; 4];
    for _ in 0..1200 {
        let message = client.recv().unwrap().unwrap();
        let (thread, number) = message.split_once(' ').unwrap();
        let thread: usize = thread.parse().unwrap();
        assert_eq!(number, next[thread].to_string());
        next[thread] += 1;
    }
    assert!(matches!(client.close(), End::Closed(Some(closed)) if closed.clean));
}

/// The server sends back what it gets: a message of a type as it is, and a request, with its id, which makes it its own answer.
fn requests_are_answered_and_types_go_to_who_subscribed<S: Subject>() {
    let server = Server::start();
    let address = server.address;
    let mut config = hasty();
    config.json = Some(JsonConfig::default());
    let mut client = S::start(&server.url(), config);
    assert_eq!(client.request("history", "7", PATIENCE), Ok(r#""7""#.into()));
    let [of_type, other] = client.next_of_type_and_others("news", |client| {
        client.send_typed("weather", "rain");
        client.send_typed("news", "none");
    });
    assert_eq!((&*of_type, &*other), (r#""none""#, r#""rain""#));
    // Nobody is subscribed any more.
    client.send_typed("news", "unheard");
    client.find(|event| matches!(event, ClientEvent::Json(JsonEvent::Message(envelope)) if &*envelope.kind == "news"));

    server.kill();
    client.find(is_lost);
    assert!(client.request("history", "8", 50 * MS).unwrap_err().contains("in time"));
    let server = Server::at(address);
    assert_eq!(client.request("history", "9", PATIENCE), Ok(r#""9""#.into()));
    assert!(!server.received().iter().any(|text| text.contains('8')), "what was given up does not leave");
    client.abort();
    client.ended();
    assert!(client.request("history", "10", PATIENCE).is_err());
}

fn a_message_that_is_inflated_in_turns_arrives_whole<S: Subject>() {
    let deflating = |inflated_per_poll_max| {
        let (mut config, mut deflate) = (Config::default(), DeflateConfig::default());
        deflate.inflated_per_poll_max = inflated_per_poll_max;
        config.deflate = Some(deflate);
        Arc::new(config)
    };
    let long = "x".repeat(1_000_000);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let (config, text) = (deflating(usize::MAX), long.clone());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut socket = sansocket_std::Acceptor::new().config(config).accept(stream).unwrap();
        socket.send(text).unwrap();
        socket.send("more").unwrap();
        assert_eq!(socket.recv().unwrap(), None);
    });
    let options = ClientOptions::new(&url).unwrap().config(deflating(1000));
    let mut client = S::start_asking(&url, hasty(), move || Prepared::Request(Box::new(options.clone())));
    assert!(client.recv().unwrap() == Some(long));
    assert_eq!(client.recv().unwrap().as_deref(), Some("more"));
    client.close();
    server.join().unwrap();
}

/// Answers the request and reads no further than the first message; with more unread, to drop the stream is to reset it.
fn first_message(stream: &mut TcpStream) -> Option<String> {
    let now = Instant::now();
    let (mut connection, mut buf) = (Connection::server(Config::default(), [7; 32], now), RecvBuf::new());
    loop {
        let mut bytes = [0; 1000];
        let n = stream.read(&mut bytes).ok().filter(|n| *n > 0)?;
        buf.extend_from_slice(&bytes[..n]);
        match connection.poll_event(now, &mut buf) {
            Some(Event::Request(_)) => connection.accept(now, &Acceptance::new()).unwrap(),
            Some(Event::Text(text)) => return Some(text.to_owned()),
            _ => {}
        }
        stream.write_all(connection.outgoing()).ok()?;
        connection.advance_outgoing(now, connection.outgoing().len());
    }
}

/// The server resets the connection as soon as it has read a message, as it does with more unread: often before the client's write has returned.
fn what_a_server_has_read_is_not_sent_again<S: Subject>() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut received = Vec::new();
        while received.len() < 300 {
            let (mut stream, _) = listener.accept().unwrap();
            received.extend(first_message(&mut stream));
        }
        received
    });
    let mut config = hasty();
    (config.backoff.first, config.backoff.cap) = (MS, MS);
    let client = S::start(&url, config);
    // What is sent is lost when the connection just was.
    for number in 0.. {
        if server.is_finished() {
            break;
        }
        client.send(&number.to_string());
        client.send(&format!("{number} {}", "x".repeat(100_000)));
        thread::sleep(MS);
    }
    let received = server.join().unwrap();
    client.abort();
    let mut once = received.clone();
    once.dedup();
    assert_eq!(once.len(), received.len(), "some came twice");
}

macro_rules! on_every_adapter {
    ($($claim:ident)*) => {
        on_every_adapter!(on_std, Blocking, $($claim)*);
        on_every_adapter!(on_tokio, Asynchronous<Tokio>, $($claim)*);
        on_every_adapter!(on_smol, Asynchronous<Smol>, $($claim)*);
        on_every_adapter!(on_async_std, Asynchronous<AsyncStd>, $($claim)*);
    };
    ($adapter:ident, $subject:ty, $($claim:ident)*) => {
        mod $adapter {
            use super::*;

            $(#[test]
            fn $claim() {
                super::$claim::<$subject>();
            })*
        }
    };
}

on_every_adapter! {
    what_is_sent_while_the_server_is_away_arrives_in_order
    a_link_that_goes_dead_is_noticed_by_its_heartbeat
    a_write_that_fails_does_not_hide_what_arrived_before
    credentials_go_first_on_each_connection
    refused_credentials_end_the_client_and_whoever_receives_is_told
    a_close_waits_until_the_server_is_there_and_has_everything
    a_client_without_handles_sends_what_is_queued_and_goes_away
    the_url_may_be_another_each_time
    a_reader_is_sent_and_a_writer_gets_what_comes_back
    many_threads_send_and_each_keeps_its_order
    requests_are_answered_and_types_go_to_who_subscribed
    a_message_that_is_inflated_in_turns_arrives_whole
    what_a_server_has_read_is_not_sent_again
}
