//! A client that outlives its connections, on the simulated runtime: over a network that fails by a seed, with futures that are dropped at every await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sansocket::CloseCode;
use sansocket::client::{
    Auth, AuthAnswer, ClientConfig, ClientEvent, ClientState, Delivery, End, Outcome, Prepared, Token, Verdict,
};
use sansocket_async::{Acceptor, Client, Connector, Inbox, Runtime as _};
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
    let seeds = std::env::var("SANSOCKET_SEEDS").ok().and_then(|count| count.parse().ok());
    for seed in 0..seeds.unwrap_or(150) {
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
        Delivery::AtLeastOnce => {
            assert_eq!(firsts.len() as u64, MESSAGES);
            assert!(outcomes.values().all(|outcome| *outcome == Outcome::Confirmed), "{outcomes:?}");
        }
    }
    assert!(echoed <= received.len());
    let opened = told.iter().filter(|event| matches!(event, ClientEvent::Opened { .. })).count();
    assert!(opened <= connections);
}
