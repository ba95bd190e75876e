//! A client that outlives its connections, on the simulated runtime: over a network that fails by a seed, with futures that are dropped at every await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sansocket::client::{
    Auth, AuthAnswer, ClientConfig, ClientEvent, ClientState, Delivery, End, Outcome, Overflow, Prepared, Token,
    Verdict,
};
use sansocket::{CloseCode, Config};
use sansocket_async::{Acceptor, Client, Connector, Inbox, Runtime as _, WebSocket};
use sansocket_conformance::{Dialled, Manners, Pipe, Rng, Sim, Waking, cancel_after};

const SEC: Duration = Duration::from_secs(1);

fn connector() -> Connector<Sim> {
    Connector::new("ws://localhost/").unwrap()
}

/// What the servers of a run have seen, all together.
#[derive(Default)]
struct Seen {
    received: RefCell<Vec<u64>>,
    connections: Cell<usize>,
    credentials_first: Cell<bool>,
}

/// A network that fails as it likes until a certain moment.
fn unreliable(seen: Rc<Seen>, well_at: Duration, has_auth: bool) {
    Sim::network(move || {
        let is_well = Sim::elapsed() >= well_at;
        let delay = Duration::from_millis(Sim::below(500) as u64);
        match Sim::below(6) {
            _ if is_well => {}
            0 => return Dialled::Unanswered,
            1 => return Dialled::Refused(delay),
            _ => {}
        }
        let mut rng = Rng::new(Sim::below(1 << 30) as u64);
        let manners = if is_well { Manners::default() } else { Manners { room: 1000, ..Manners::any(&mut rng) } };
        let (client, server) = Pipe::pair(rng.below(1 << 30) as u64, manners);
        if !is_well {
            let cut = client.cutter();
            let after = Duration::from_millis(Sim::below([100, 1000, 30_000][Sim::below(3)]) as u64);
            Sim::spawn(async move {
                Sim::sleep(after).await;
                cut();
            });
        }
        let fate = if is_well { 5 } else { Sim::below(6) };
        let seen = Rc::clone(&seen);
        Sim::spawn_here(async move {
            match fate {
                // Deaf: it reads nothing, and is gone after a while.
                0 => {
                    Sim::sleep(60 * SEC).await;
                    drop(server);
                }
                _ => serve(server, seen, fate, has_auth).await,
            }
        });
        Dialled::Connected(delay, client)
    });
}

/// Notes the numbers of what it receives, and sends them back.
async fn serve(server: Pipe, seen: Rc<Seen>, fate: usize, has_auth: bool) {
    let Ok(mut socket) = Acceptor::<Sim>::new().accept(server).await else { return };
    seen.connections.set(seen.connections.get() + 1);
    let mut awaits_credentials = has_auth;
    let mut left = if fate == 1 { Sim::below(10) } else { usize::MAX };
    while let Ok(Some(message)) = socket.recv().await {
        let text = message.as_text().unwrap().to_owned();
        if text == "credentials" {
            awaits_credentials = false;
            seen.credentials_first.set(true);
            let _ = socket.send("welcome").await;
            continue;
        }
        assert!(!awaits_credentials, "a message before the credentials");
        seen.received.borrow_mut().push(text.split(' ').next().unwrap().parse().unwrap());
        let _ = socket.send(message).await;
        if left == 0 {
            let _ = socket.close(CloseCode(1012), "").await;
            return;
        }
        left -= 1;
    }
}

fn config_of(rng: &mut Rng, delivery: Delivery) -> (ClientConfig, bool) {
    let mut config = ClientConfig::default();
    config.queue.delivery = delivery;
    config.queue.messages_max = [1, 3, 1000][rng.below(3)];
    config.retry = config.retry.close_code(1000..=4999, Verdict::Retry);
    let has_auth = rng.once_in(2);
    config.auth = has_auth.then(|| {
        Auth::new("credentials", |message| match message.as_text() {
            Some("welcome") => AuthAnswer::Accepted,
            _ => AuthAnswer::Other,
        })
    });
    (config, has_auth)
}

/// All that is accepted has one outcome, what is promised of it holds, the client comes back, and no task is left, which [`Sim::run`] waits for.
#[test]
fn whatever_the_network_does_each_message_has_its_outcome_and_the_client_comes_back() {
    let seeds =
        std::env::var("SANSOCKET_SEEDS").map_or(150, |count| count.parse().expect("SANSOCKET_SEEDS is a number"));
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let delivery = [Delivery::AtMostOnce, Delivery::AtLeastOnce][rng.below(2)];
        let (config, has_auth) = config_of(&mut rng, delivery);
        let waking = if rng.once_in(2) { Waking::Queues } else { Waking::RunsAtOnce };
        let well_at = Duration::from_millis(rng.below(100_000) as u64);
        let cancels_once_in = [2, 10, usize::MAX][rng.below(3)];
        let asks = rng.once_in(3);
        Sim::run(seed, waking, async move {
            let seen = Rc::new(Seen::default());
            unreliable(Rc::clone(&seen), well_at, has_auth);
            let (client, inbox) = match asks {
                false => connector().client(config).unwrap(),
                true => {
                    let prepare = |_| async {
                        Sim::sleep(SEC).await;
                        if Sim::below(3) == 0 { Prepared::Failed("no token".into()) } else { Prepared::Unchanged }
                    };
                    connector().client_with(config, prepare).unwrap()
                }
            };
            let told = Rc::new(RefCell::new(Vec::new()));
            Sim::spawn_here(follow(client.events(), Rc::clone(&told)));
            let echoed = Rc::new(Cell::new(0));
            Sim::spawn_here(receive(inbox, cancels_once_in, Rc::clone(&echoed)));
            let sent = send_all(&client, cancels_once_in).await;
            Sim::sleep(well_at.saturating_sub(Sim::elapsed())).await;
            let end = client.close(CloseCode::NORMAL, "done", 900 * SEC).await.unwrap();
            assert!(matches!(end, End::Closed(_)), "{end:?}");
            assert_eq!((client.end(), client.state()), (Some(end.clone()), ClientState::Closed));
            // The others hear of it, too.
            Sim::sleep(SEC).await;
            let mut outcomes = BTreeMap::new();
            for (number, receipt) in sent {
                outcomes.insert(number, receipt.await);
            }
            judge(delivery, &seen.received.borrow(), &outcomes, echoed.get(), &told.borrow(), seen.connections.get());
            assert_eq!(told.borrow().last(), Some(&ClientEvent::Ended(end)));
            assert!(!has_auth || seen.credentials_first.get());
        });
    }
}

const MESSAGES: u64 = 40;

async fn send_all(client: &Client<Sim>, cancels_once_in: usize) -> Vec<(u64, sansocket_async::Receipt)> {
    let mut sent = Vec::new();
    let mut last = Token(0);
    while sent.len() < MESSAGES as usize {
        let number = sent.len() as u64;
        let text = format!("{number} {}", "x".repeat([0, 10, 3000][Sim::below(3)]));
        let polls = if Sim::below(cancels_once_in) == 0 { 1 + Sim::below(3) } else { usize::MAX };
        let Some(receipt) = cancel_after(polls, client.send_tracked(text)).await else { continue };
        let receipt = receipt.unwrap();
        assert!(receipt.token() > last);
        last = receipt.token();
        sent.push((number, receipt));
        Sim::sleep(Duration::from_millis([0, 0, 100, 5000][Sim::below(4)])).await;
    }
    sent
}

async fn receive(mut inbox: Inbox<Sim>, cancels_once_in: usize, echoed: Rc<Cell<usize>>) {
    loop {
        let polls = if Sim::below(cancels_once_in) == 0 { 1 + Sim::below(3) } else { usize::MAX };
        match cancel_after(polls, inbox.recv()).await {
            None => {}
            Some(Ok(Some(_))) => echoed.set(echoed.get() + 1),
            Some(Ok(None)) => return,
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

async fn follow(mut events: sansocket_async::Events, told: Rc<RefCell<Vec<ClientEvent>>>) {
    while let Some(event) = events.recv().await {
        told.borrow_mut().push(event.unwrap());
    }
}

fn judge(
    delivery: Delivery,
    received: &[u64],
    outcomes: &BTreeMap<u64, Outcome>,
    echoed: usize,
    told: &[ClientEvent],
    connections: usize,
) {
    let mut firsts = received.to_vec();
    let mut known = std::collections::BTreeSet::new();
    firsts.retain(|number| known.insert(*number));
    assert!(firsts.is_sorted(), "order is kept: {received:?}");
    assert_eq!(outcomes.len(), MESSAGES as usize);
    let in_doubt: u64 =
        told.iter().map(|event| if let ClientEvent::Lost { in_doubt, .. } = event { *in_doubt } else { 0 }).sum();
    match delivery {
        Delivery::AtMostOnce => {
            assert_eq!(firsts, received);
            assert!(outcomes.values().all(|outcome| *outcome == Outcome::Written), "{outcomes:?}");
            assert!(MESSAGES - firsts.len() as u64 <= in_doubt);
        }
        Delivery::AtLeastOnce | Delivery::Acknowledged => {
            assert_eq!(firsts.len() as u64, MESSAGES);
            assert!(outcomes.values().all(|outcome| *outcome == Outcome::Confirmed), "{outcomes:?}");
        }
    }
    assert!(echoed <= received.len());
    let opened = told.iter().filter(|event| matches!(event, ClientEvent::Opened { .. })).count();
    assert!(opened <= connections);
}

/// Connects everybody to a server of this kind, without a fault but the pipe's manners.
fn well<F: Future<Output = ()> + 'static>(
    seed: u64,
    manners: Manners,
    serve: impl Fn(WebSocket<Pipe, Sim>) -> F + Clone + 'static,
) {
    Sim::network(move || {
        let (client, server) = Pipe::pair(seed, manners);
        let serve = serve.clone();
        Sim::spawn_here(async move {
            if let Ok(socket) = Acceptor::<Sim>::new().accept(server).await {
                serve(socket).await;
            }
        });
        Dialled::Connected(Duration::ZERO, client)
    });
}

async fn echo(mut socket: WebSocket<Pipe, Sim>) {
    while let Ok(Some(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Runs `test` for one await after the other, until it says that the future was ready before.
fn at_every_await<F: Future<Output = bool> + 'static>(test: impl Fn(u64, usize, Manners) -> F) {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let manners = Manners::any(&mut rng);
        let waking = if rng.once_in(2) { Waking::Queues } else { Waking::RunsAtOnce };
        let (mut polls, mut step) = (1, 1);
        while !Sim::run(seed, waking, test(seed, polls, manners)).output {
            polls += step;
            step += polls / 40;
        }
    }
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() {
    at_every_await(|seed, polls, manners| async move {
        well(seed, manners, |mut socket| async move {
            for number in 0..20 {
                socket.send(number.to_string()).await.unwrap();
            }
            assert_eq!(socket.recv().await.unwrap(), None);
        });
        let (client, mut inbox) = connector().client(ClientConfig::default()).unwrap();
        let mut is_over = true;
        for number in 0..20 {
            let received = match cancel_after(polls, inbox.recv()).await {
                Some(received) => received,
                None => {
                    is_over = false;
                    inbox.recv().await
                }
            };
            assert_eq!(received.unwrap(), Some(number.to_string().into()));
        }
        client.close(CloseCode::NORMAL, "", SEC).await.unwrap();
        assert_eq!(inbox.recv().await, Ok(None));
        is_over
    });
}

/// The queue has room for one.
#[test]
fn a_send_that_is_dropped_has_sent_nothing_and_a_close_goes_on() {
    at_every_await(|seed, polls, manners| async move {
        let received = Rc::new(RefCell::new(Vec::new()));
        let place = Rc::clone(&received);
        well(seed, manners, move |mut socket| {
            let place = Rc::clone(&place);
            async move {
                while let Ok(Some(message)) = socket.recv().await {
                    place.borrow_mut().push(message.as_text().unwrap().to_owned());
                }
            }
        });
        let mut config = ClientConfig::default();
        config.queue.messages_max = 1;
        let (client, inbox) = connector().client(config).unwrap();
        drop(inbox);
        let mut is_over = true;
        for number in 0..20 {
            if cancel_after(polls, client.send(number.to_string())).await.is_none() {
                is_over = false;
                client.send(number.to_string()).await.unwrap();
            }
        }
        is_over &= cancel_after(polls, client.close(CloseCode::NORMAL, "", 10 * SEC)).await.is_some();
        is_over &= cancel_after(polls, client.ended()).await.is_some();
        assert!(matches!(client.ended().await, End::Closed(Some(closed)) if closed.clean));
        assert_eq!(*received.borrow(), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
        is_over
    });
}

/// It is given up, and the answer to another is not taken for its own.
#[test]
fn a_request_that_is_dropped_is_given_up() {
    at_every_await(|seed, polls, manners| async move {
        well(seed, manners, echo);
        let mut config = ClientConfig::default();
        let mut json = sansocket::json::JsonConfig::default();
        json.pending_max = 1;
        config.json = Some(json);
        let (client, _inbox) = connector().client(config).unwrap();
        let mut news = client.subscribe("news");
        let mut is_over = true;
        for number in 0..10 {
            let request = client.request("double", &number, 10 * SEC);
            is_over &= cancel_after(polls, request).await.is_some_and(|answer| {
                assert_eq!(answer.unwrap().parse::<i32>().unwrap(), number);
                true
            });
            assert_eq!(client.request("double", &-number, 10 * SEC).await.unwrap().parse::<i32>().unwrap(), -number);
            client.send_typed("news", &number).await.unwrap();
            let next = cancel_after(polls, news.recv()).await;
            is_over &= next.is_some();
            let next = if let Some(next) = next { next } else { news.recv().await };
            assert_eq!(next.unwrap().payload.parse::<i32>().unwrap(), number);
        }
        client.close(CloseCode::NORMAL, "", SEC).await.unwrap();
        assert_eq!(news.recv().await, None);
        is_over
    });
}

/// How the message of a request leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Written,
    GivenUp,
    TimedOut,
    /// For another request.
    Dropped,
}

/// It has no outcome of its own to be told. The queue has room for one.
#[test]
fn a_request_that_leaves_the_queue_makes_room_for_a_message() {
    for leaves in [Leaves::Written, Leaves::GivenUp, Leaves::TimedOut, Leaves::Dropped] {
        for waking in [Waking::Queues, Waking::RunsAtOnce] {
            Sim::run(7, waking, async move {
                if leaves == Leaves::Written {
                    well(
                        7,
                        Manners::default(),
                        |mut socket| async move { while let Ok(Some(_)) = socket.recv().await {} },
                    );
                } else {
                    Sim::network(|| Dialled::Unanswered);
                }
                let mut config = ClientConfig::default();
                config.queue.messages_max = 1;
                if leaves == Leaves::Dropped {
                    config.queue.overflow = Overflow::DropOldest;
                }
                config.json = Some(sansocket::json::JsonConfig::default());
                let (client, _inbox) = connector().client(config).unwrap();
                let timeout = if leaves == Leaves::TimedOut { SEC } else { 3600 * SEC };
                let mut request = Box::pin(client.request("a", &1, timeout));
                assert!(cancel_after(1, &mut request).await.is_none());
                let mut other = Box::pin(client.request("b", &2, timeout));
                if leaves == Leaves::Dropped {
                    assert!(cancel_after(1, &mut other).await.is_none());
                }
                let sent = Rc::new(Cell::new(false));
                let (sender, is_sent) = (client.clone(), Rc::clone(&sent));
                let mut sending = Box::pin(async move { sender.send("c").await.map(|_| is_sent.set(true)) });
                assert!(cancel_after(1, &mut sending).await.is_none(), "{leaves:?}");
                Sim::spawn_here(async move { sending.await.unwrap() });
                match leaves {
                    Leaves::Written | Leaves::Dropped => {}
                    Leaves::GivenUp => drop(request),
                    Leaves::TimedOut => assert!(request.await.is_err()),
                }
                Sim::sleep(SEC).await;
                assert!(sent.get(), "{leaves:?}");
                client.abort();
            });
        }
    }
}

/// No timer comes to the rescue: all of it happens at one moment.
#[test]
fn no_wake_up_is_lost() {
    for seed in 0..80 {
        let mut rng = Rng::new(seed);
        let waking = if rng.once_in(2) { Waking::Queues } else { Waking::RunsAtOnce };
        let manners = Manners::any(&mut rng);
        let (tasks, messages) = (rng.between(1, 4), rng.between(1, 30));
        let (messages_max, cancels_once_in) = ([1, 3, 1000][rng.below(3)], [1, 2, 10, usize::MAX][rng.below(4)]);
        let run = Sim::run(seed, waking, async move {
            well(seed, manners, echo);
            let mut config = ClientConfig::default();
            config.queue.messages_max = messages_max;
            let (client, mut inbox) = connector().client(config).unwrap();
            let cancelled = move || if Sim::below(cancels_once_in) == 0 { 1 + Sim::below(4) } else { usize::MAX };
            for task in 0..tasks {
                let client = client.clone();
                Sim::spawn_here(async move {
                    for number in 0..messages {
                        let message = format!("{task} {number} {}", "x".repeat(Sim::below(200)));
                        while cancel_after(cancelled(), client.send(message.clone())).await.is_none() {}
                    }
                });
            }
            let mut next = vec![0; tasks];
            while next.iter().sum::<usize>() < tasks * messages {
                let Some(received) = cancel_after(cancelled(), inbox.recv()).await else { continue };
                let message = received.unwrap().unwrap();
                let mut words = message.as_text().unwrap().split(' ').map(|word| word.parse::<usize>().unwrap_or(0));
                let (task, number) = (words.next().unwrap(), words.next().unwrap());
                assert_eq!(number, next[task], "what a task sends keeps its order");
                next[task] += 1;
            }
            client.close(CloseCode::NORMAL, "", SEC).await.unwrap();
        });
        assert_eq!(run.elapsed, Duration::ZERO, "seed {seed}: somebody waited for a timer");
    }
}

/// Nobody takes them for an hour, over the heartbeats of both ends.
#[test]
fn a_peer_waits_for_a_receiver_and_the_connection_lasts() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let manners = Manners::any(&mut rng);
        let has_auth = rng.once_in(2);
        Sim::run(seed, Waking::Queues, async move {
            let serve = |socket: WebSocket<Pipe, Sim>| async move {
                let (sender, mut receiver) = socket.split();
                Sim::spawn_here(async move { while let Ok(Some(_)) = receiver.recv().await {} });
                for number in 0..3000 {
                    sender.send(number.to_string()).await.unwrap();
                }
            };
            let mut patient = Config::default();
            (patient.ping_interval, patient.write_timeout) = (None, None);
            let patient = std::sync::Arc::new(patient);
            Sim::network(move || {
                let (client, server) = Pipe::pair(seed, manners);
                let patient = std::sync::Arc::clone(&patient);
                Sim::spawn_here(async move {
                    serve(Acceptor::<Sim>::new().config(patient).accept(server).await.unwrap()).await;
                });
                Dialled::Connected(Duration::ZERO, client)
            });
            let mut config = ClientConfig::default();
            if has_auth {
                // Each message is asked whether it is an answer, the first is.
                config.auth = Some(Auth::new("x", |message| match message.as_text() {
                    Some("0") => AuthAnswer::Accepted,
                    _ => AuthAnswer::Other,
                }));
            }
            let (client, mut inbox) = connector().client(config).unwrap();
            Sim::sleep(3600 * SEC).await;
            // What is sent leaves nevertheless.
            assert_eq!(client.send_tracked("x").await.unwrap().await, Outcome::Written);
            for number in usize::from(has_auth)..3000 {
                assert_eq!(inbox.recv().await.unwrap(), Some(number.to_string().into()));
            }
            assert_eq!((client.metrics().connections, client.state()), (1, ClientState::Open));
            client.abort();
        });
    }
}

#[test]
fn an_idle_client_costs_a_few_polls_a_minute() {
    for how in 0..3 {
        let polls = Sim::run(7, Waking::Queues, async move {
            well(7, Manners { pending_once_in: 3, ..Manners::default() }, echo);
            let (client, inbox) = connector().client(ClientConfig::default()).unwrap();
            let mut inbox = Some(inbox);
            match how {
                0 => drop(inbox.take()),
                1 => {
                    let mut inbox = inbox.take().unwrap();
                    Sim::spawn_here(async move { drop(inbox.recv().await) });
                }
                _ => {}
            }
            Sim::sleep(60 * SEC).await;
            let before = Sim::polls();
            Sim::sleep(3600 * SEC).await;
            assert_eq!(client.state(), ClientState::Open);
            client.abort();
            Sim::polls() - before
        });
        // A heartbeat every 25 s at each end is 288 an hour, of some polls each.
        assert!(polls.output < 10_000, "{how}: {} polls in an hour", polls.output);
    }
}

#[test]
fn those_who_watch_do_not_keep_a_client_and_are_told_of_its_end() {
    Sim::run(7, Waking::Queues, async {
        well(7, Manners::default(), echo);
        let (client, inbox) = connector().client(ClientConfig::default()).unwrap();
        let (mut watch, mut events) = (client.watch(), client.events());
        assert!(watch.until(ClientState::Open).await);
        drop((client, inbox));
        assert!(watch.until(ClientState::Closed).await);
        assert_eq!(watch.changed().await, None);
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event.unwrap());
        }
        assert!(
            matches!(last, Some(ClientEvent::Ended(End::Closed(Some(closed)))) if closed.code == CloseCode::GOING_AWAY)
        );
        assert!(Sim::elapsed() < SEC);
    });
}

/// The runtime drops its tasks.
#[test]
fn when_the_runtime_ends_those_who_wait_are_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let started = runtime
        .block_on(async { sansocket_tokio::Connector::new(&url).unwrap().client(ClientConfig::default()).unwrap() });
    let (client, mut inbox) = started;
    let receipt = smol::block_on(client.send_tracked("never")).unwrap();
    drop(runtime);
    assert_eq!(smol::block_on(client.ended()), End::Aborted);
    assert_eq!(smol::block_on(inbox.recv()), Ok(None));
    assert_eq!(smol::block_on(receipt), Outcome::Dropped(sansocket::client::DropReason::Ended));
}
