//! Whoever waits is woken, and nobody else: on a simulated runtime, over pipes that behave badly.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sansocket::{CloseCode, Config};
use sansocket_async::{Receiver, Runtime as _, Sender, WebSocket};
use sansocket_conformance::{Manners, Pipe, Rng, Sim, Waking, cancel_after, pair};

/// What an end sends: so many messages of each of its senders, which number them.
#[derive(Clone, Copy, Debug)]
struct Plan {
    senders: usize,
    messages: usize,
    len_max: usize,
    /// One wait in so many is given up after a poll or a few.
    cancels_once_in: usize,
    /// Whether senders and receiver are tasks of their own.
    in_halves: bool,
}

impl Plan {
    fn any(rng: &mut Rng, len_max: usize) -> Self {
        let in_halves = rng.once_in(2);
        Self {
            senders: if in_halves { rng.between(1, 3) } else { 1 },
            messages: rng.between(0, 12),
            len_max: rng.between(2, len_max),
            cancels_once_in: [1, 2, 10, usize::MAX][rng.below(4)],
            in_halves,
        }
    }

    fn total(self) -> usize {
        self.senders * self.messages
    }

    async fn cancelled<O>(self, future: impl Future<Output = O>) -> Option<O> {
        // Not for ever, or a pipe of one byte would never carry anything.
        let polls = match Sim::below(self.cancels_once_in) {
            0 => 1 + Sim::below(4),
            _ => usize::MAX,
        };
        cancel_after(polls, future).await
    }
}

fn message(sender: usize, number: usize, len_max: usize) -> Vec<u8> {
    let mut message = vec![sender as u8, number as u8];
    message.resize(2 + (sender * 31 + number * 17) % (len_max - 1), number as u8);
    message
}

/// Checks that each sender's messages arrive whole, once, and in order.
struct Checked {
    next: [usize; 3],
    len_max: usize,
    count: usize,
}

impl Checked {
    fn new(peer: Plan) -> Self {
        Self { next: [0; 3], len_max: peer.len_max, count: 0 }
    }

    fn take(&mut self, received: &[u8]) {
        let sender = usize::from(received[0]);
        assert_eq!(received, message(sender, self.next[sender], self.len_max));
        self.next[sender] += 1;
        self.count += 1;
    }
}

type Socket = WebSocket<Pipe, Sim>;

async fn live(socket: Socket, mine: Plan, peers: Plan, closes: bool) {
    if mine.in_halves {
        live_in_halves(socket, mine, peers, closes).await
    } else {
        live_whole(socket, mine, peers, closes).await
    }
}

async fn live_whole(mut socket: Socket, mine: Plan, peers: Plan, closes: bool) {
    let mut checked = Checked::new(peers);
    let mut sent = 0;
    while sent < mine.messages || closes && checked.count < peers.total() {
        let can_receive = checked.count < peers.total();
        if sent < mine.messages && (!can_receive || Sim::below(2) == 0) {
            let message = message(0, sent, mine.len_max);
            if let Some(result) = mine.cancelled(socket.send(message)).await {
                result.unwrap();
                sent += 1;
            }
        } else {
            // The peer may wait for what is still to be sent.
            let received = match sent < mine.messages {
                true => cancel_after(1, socket.recv()).await,
                false => mine.cancelled(socket.recv()).await,
            };
            if let Some(result) = received {
                checked.take(result.unwrap().expect("not closed yet").as_bytes());
            }
        }
    }
    if closes {
        while mine.cancelled(socket.close(CloseCode::NORMAL, "")).await.is_none_or(|closed| !closed.unwrap().clean) {}
    } else {
        loop {
            match mine.cancelled(socket.recv()).await {
                Some(Ok(Some(message))) => checked.take(message.as_bytes()),
                Some(Ok(None)) => break,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
    }
    assert_eq!(checked.count, peers.total());
}

async fn live_in_halves(socket: Socket, mine: Plan, peers: Plan, closes: bool) {
    let (sender, receiver) = socket.split();
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(mine.senders + 1));
    for i in 0..mine.senders {
        Sim::spawn(send_all(sender.clone(), i, mine, Arc::clone(&left), closes));
    }
    receive_all(receiver, sender, mine, peers, left, closes).await;
}

async fn send_all(
    sender: Sender<Pipe, Sim>,
    i: usize,
    plan: Plan,
    left: Arc<std::sync::atomic::AtomicUsize>,
    closes: bool,
) {
    for number in 0..plan.messages {
        loop {
            if let Some(result) = plan.cancelled(sender.send(message(i, number, plan.len_max))).await {
                result.unwrap();
                break;
            }
        }
    }
    part(&sender, &left, closes);
}

/// The last one of those who want to send or receive closes.
fn part(sender: &Sender<Pipe, Sim>, left: &std::sync::atomic::AtomicUsize, closes: bool) {
    if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1 && closes {
        sender.start_close(CloseCode::NORMAL, "").unwrap();
    }
}

async fn receive_all(
    mut receiver: Receiver<Pipe, Sim>,
    sender: Sender<Pipe, Sim>,
    mine: Plan,
    peers: Plan,
    left: Arc<std::sync::atomic::AtomicUsize>,
    closes: bool,
) {
    let mut checked = Checked::new(peers);
    loop {
        if checked.count == peers.total() && closes && left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            part(&sender, &left, closes);
            // Only once.
            checked.count = usize::MAX;
        }
        match mine.cancelled(receiver.recv()).await {
            Some(Ok(Some(message))) => checked.take(message.as_bytes()),
            Some(Ok(None)) => break,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    assert!(checked.count == usize::MAX || checked.count == peers.total());
}

/// No timer comes to the rescue: all of it happens at one moment. A lost wake-up would cost a second at least, until the keeper looks, or be found as a
/// run that is stuck.
#[test]
fn no_wake_up_is_lost() {
    for seed in 0..250 {
        let mut rng = Rng::new(seed);
        let waking = if rng.once_in(2) { Waking::Queues } else { Waking::RunsAtOnce };
        let manners = Manners::any(&mut rng);
        let len_max = if rng.once_in(8) { 100_000.min(manners.room * 500).max(300) } else { 300 };
        let (client, server) = (Plan::any(&mut rng, len_max), Plan::any(&mut rng, len_max));
        let mut config = Config::default();
        config.high_water_mark = [0, 100, 65_536][rng.below(3)];
        let config = Arc::new(config);
        let client_closes = rng.once_in(2);
        let run = Sim::run(seed, waking, async move {
            let (one, other) = pair::<Sim>(seed, manners, &config);
            Sim::spawn(live(other, server, client, !client_closes));
            live(one, client, server, client_closes).await;
        });
        assert_eq!(run.elapsed, Duration::ZERO, "seed {seed}: somebody waited for a timer");
    }
}

/// Answers have a place of their own, and decoding pauses when they pile up. Where both ends do nothing but answer, each would wait for the other to
/// read.
#[test]
fn two_ends_that_both_answer_do_not_block_each_other() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let manners = Manners::any(&mut rng);
        let mut config = Config::default();
        config.high_water_mark = 100;
        let config = Arc::new(config);
        let (len, in_flight) = (rng.between(200, 800), rng.between(1, 8));
        let run = Sim::run(seed, Waking::Queues, async move {
            let (mut client, mut server) = pair::<Sim>(seed, manners, &config);
            Sim::spawn(async move {
                for _ in 0..in_flight {
                    server.send(vec![1; len]).await.unwrap();
                }
                while let Some(message) = server.recv().await.unwrap() {
                    if server.send(message).await.is_err() {
                        break; // The client closes.
                    }
                }
            });
            for _ in 0..in_flight {
                client.send(vec![2; len]).await.unwrap();
            }
            for _ in 0..20 {
                let message = client.recv().await.unwrap().unwrap();
                client.send(message).await.unwrap();
            }
            assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
        });
        assert!(run.elapsed < Duration::from_secs(1), "seed {seed}: {:?}", run.elapsed);
    }
}

/// The pipe takes little at a time, and whoever sent is away.
#[test]
fn the_rest_of_a_message_leaves_although_nobody_waits_for_it() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let waking = if rng.once_in(2) { Waking::Queues } else { Waking::RunsAtOnce };
        let manners = Manners { room: 100, ..Manners::any(&mut rng) };
        let (before, is_read) = (rng.below(2000) as u64, rng.once_in(2));
        let run = Sim::run(seed, waking, async move {
            let (mut client, mut server) = pair::<Sim>(seed, manners, &Arc::default());
            if is_read {
                server.send("x").await.unwrap();
                client.recv().await.unwrap();
            }
            // The keeper has begun to watch, or is done with it.
            Sim::sleep(Duration::from_millis(before)).await;
            let (began_at, arrived_after) = (Sim::elapsed(), Arc::new(OnceLock::new()));
            let arrived = Arc::clone(&arrived_after);
            Sim::spawn(async move {
                assert!(server.recv().await.unwrap().is_some());
                arrived.set(Sim::elapsed() - began_at).unwrap();
            });
            client.send(vec![7; 50_000]).await.unwrap();
            Sim::sleep(Duration::from_secs(5)).await;
            drop(client);
            arrived_after
        });
        assert_eq!(run.output.get(), Some(&Duration::ZERO), "seed {seed}: somebody waited for a timer");
    }
}

/// What is going on while nothing goes on.
#[derive(Clone, Copy, Debug)]
enum Idle {
    /// Both ends wait for a message.
    BothReceive,
    /// Nobody is polled at one end.
    NobodyIsPolled,
    /// Messages lie there, and nobody comes for them.
    MessagesWait,
    /// Output lies there, and the peer does not read.
    OutputWaits,
    /// A sender waits for room, and the peer does not read.
    SenderWaits,
    /// There is no receiver any more.
    SendersOnly,
    /// Answers have piled up, so that decoding is paused, and the peer sends more.
    Paused,
}

/// Sees to what is due, and otherwise sleeps: a heartbeat every 25 s at each end is 288 an hour, of some polls each, and of more where the pipe is not
/// ready at once. Each limit is a quarter above what it takes; one more wake-up a second would be 3,600.
#[test]
fn an_idle_connection_costs_a_few_polls_a_minute() {
    let often_pending = Manners { pending_once_in: 3, ..Manners::default() };
    for (idle, most, most_often_pending) in [
        (Idle::BothReceive, 1_782, 3_772),
        (Idle::NobodyIsPolled, 721, 2_413),
        (Idle::MessagesWait, 441, 1_477),
        (Idle::OutputWaits, 840, 4_052),
        (Idle::SenderWaits, 1_015, 6_371),
        (Idle::SendersOnly, 721, 2_496),
        (Idle::Paused, 541, 1_425),
    ] {
        for (manners, most) in [(Manners::default(), most), (often_pending, most_often_pending)] {
            let mut config = Config::default();
            config.write_timeout = None;
            config.pong_timeout = None;
            let config = Arc::new(config);
            let polls =
                Sim::run(7, Waking::Queues, async move { polls_of_an_hour(idle, manners, &config).await }).output;
            assert!(polls <= most, "{idle:?}, {manners:?}: {polls} polls in an hour, {most} at most");
        }
    }
}

async fn polls_of_an_hour(idle: Idle, manners: Manners, config: &Arc<Config>) -> usize {
    let (client, server) = pair::<Sim>(7, manners, config);
    let (sender, mut receiver) = client.split();
    let (mut other, mut server) = (None, Some(server));
    match idle {
        Idle::BothReceive => {
            let mut server = server.take().unwrap();
            Sim::spawn(async move { drop(receiver.recv().await) });
            Sim::spawn(async move { drop(server.recv().await) });
        }
        Idle::NobodyIsPolled => other = Some(receiver),
        Idle::MessagesWait => {
            for _ in 0..1000 {
                server.as_mut().unwrap().send(vec![7; 60]).await.unwrap();
            }
            other = Some(receiver);
        }
        Idle::OutputWaits => {
            sender.send(vec![7; 300_000]).await.unwrap();
            // It is not read, for a message is in the way.
            Sim::spawn(async move { drop(receiver.recv().await) });
        }
        Idle::SenderWaits => {
            let sender = sender.clone();
            Sim::spawn(async move { while sender.send(vec![7; 30_000]).await.is_ok() {} });
            Sim::spawn(async move { drop(receiver.recv().await) });
        }
        Idle::SendersOnly => drop(receiver),
        Idle::Paused => {
            pause(server.as_mut().unwrap(), &mut receiver, &sender).await;
            other = Some(receiver);
        }
    }
    Sim::sleep(Duration::from_secs(60)).await;
    let before = Sim::polls();
    Sim::sleep(Duration::from_secs(3600)).await;
    let polls = Sim::polls() - before;
    sender.with_connection(|connection, _| connection.abort());
    drop((other, server));
    polls
}

/// Brings an end into the state in which its answers have piled up.
async fn pause(peer: &mut Socket, receiver: &mut Receiver<Pipe, Sim>, sender: &Sender<Pipe, Sim>) {
    while !sender.with_connection(|connection, _| connection.is_paused()) {
        peer.send(vec![7; 60]).await.unwrap();
        assert!(receiver.recv().await.unwrap().is_some());
        sender.with_connection(|connection, now| connection.send_binary(now, &[7; 100_000])).unwrap();
    }
    for _ in 0..100 {
        peer.send(vec![7; 60]).await.unwrap();
    }
}
