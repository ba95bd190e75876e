//! Connections that come and go leave nothing behind.

#[path = "../../../tests/support/counting.rs"]
mod counting;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use counting::TALLY;
use sansocket::client::ClientConfig;
use sansocket::{ClientRequest, CloseCode};
use sansocket_async::{Acceptor, Connector, Dial, Error, Runtime, Transport, WebSocket, Wrap};
use sansocket_async_std::{AsyncStd, Smol};
use sansocket_conformance::{Dialled, Manners, Pipe, Rng, Sim, Waking};
use sansocket_tokio::Tokio;

async fn echo<T: Transport, R: Runtime>(mut socket: WebSocket<T, R>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A client that goes away in one of six ways.
async fn come_and_go<R, S>(stream: S, how: usize) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    R: Wrap<S>,
{
    let connector = Connector::<R>::from(ClientRequest::new("ws://localhost/")?);
    if how == 0 {
        return Ok(()); // Before the handshake.
    }
    let mut socket = connector.handshake(stream).await?;
    match how {
        1 => socket.abort(),
        2 => drop(socket),
        3 => {
            socket.send(vec![7; 100_000]).await?;
            socket.abort();
        }
        4 => {
            let (sender, receiver) = socket.split();
            drop(receiver);
            sender.send("hello").await?;
        }
        _ => {
            socket.send("hello").await?;
            assert_eq!(socket.recv().await?, Some("hello".into()));
            assert!(socket.close(CloseCode::NORMAL, "").await?.clean);
        }
    }
    Ok(())
}

/// On the simulated runtime, where all is on this thread: [`Sim::run`] returns when no task is left.
#[test]
fn connections_that_are_cut_at_random_leave_no_byte() {
    let round = |seed| {
        let mut rng = Rng::new(seed);
        let (how, cut_after) = (rng.below(6), rng.below(40));
        let manners = Manners { room: 1000, ..Manners::any(&mut rng) };
        Sim::run(seed, Waking::Queues, async move {
            let (client, server) = Pipe::pair(seed, manners);
            let cut = client.cutter();
            Sim::spawn(async move {
                if let Ok(socket) = Acceptor::<Sim>::new().accept(server).await {
                    let _ = echo(socket).await;
                }
            });
            // A cut is what it is to end with.
            let _ = sansocket_conformance::cancel_after(cut_after, come_and_go::<Sim, _>(client, how)).await;
            cut();
        });
    };
    assert_leaves_no_byte(2000, round);
}

/// Runs `round` with so many seeds, after some that make what is made once for a thread.
fn assert_leaves_no_byte(count: u64, round: impl Fn(u64)) {
    // Afterwards the buffer that a thread's connections share is there; it may be lost with a connection, and made again.
    let settled = || {
        Sim::run(0, Waking::Queues, async {
            let (client, server) = Pipe::pair(0, Manners::default());
            Sim::spawn(async move { drop(echo(Acceptor::<Sim>::new().accept(server).await.unwrap()).await) });
            come_and_go::<Sim, _>(client, 5).await.unwrap();
        });
        TALLY.get().live
    };
    (0..50).for_each(&round);
    let before = settled();
    (50..50 + count).for_each(&round);
    let grown = settled() - before;
    assert_eq!(grown, 0, "bytes are left of {count}");
}

async fn give_up_soon(future: impl Future) {
    let a_while = Sim::sleep(Duration::from_millis(Sim::below(5) as u64));
    futures_util::future::select(std::pin::pin!(future), std::pin::pin!(a_while)).await;
}

/// Clients that are dropped in any state, over a network that fails.
#[test]
fn clients_that_come_and_go_leave_no_byte() {
    let round = |seed| {
        Sim::run(seed, Waking::Queues, async move {
            Sim::network(move || {
                let manners = Manners { room: 1000, ..Manners::default() };
                let (client, server) = Pipe::pair(seed, manners);
                let (cut, is_cut) = (client.cutter(), Sim::below(2) == 0);
                Sim::spawn(async move {
                    if let Ok(socket) = Acceptor::<Sim>::new().accept(server).await {
                        let _ = echo(socket).await;
                    }
                });
                Sim::spawn(async move {
                    Sim::sleep(Duration::from_millis(20)).await;
                    if is_cut {
                        cut();
                    }
                });
                match Sim::below(4) {
                    0 => Dialled::Refused(Duration::from_millis(5)),
                    1 => Dialled::Unanswered,
                    _ => Dialled::Connected(Duration::from_millis(5), client),
                }
            });
            let connector = Connector::<Sim>::new("ws://localhost/").unwrap();
            let (client, mut inbox) = connector.client(ClientConfig::default()).unwrap();
            let (mut events, watch) = (client.events(), client.watch());
            for number in 0..Sim::below(10) {
                let receipt = client.send_tracked(vec![7; 100 * number]).await;
                if Sim::below(2) == 0 {
                    give_up_soon(async { receipt.unwrap().await }).await;
                }
                give_up_soon(inbox.recv()).await;
                give_up_soon(events.recv()).await;
            }
            Sim::sleep(Duration::from_millis(Sim::below(50) as u64)).await;
            if Sim::below(3) == 0 {
                client.abort();
            }
            drop((client, events));
            Sim::sleep(Duration::from_millis(Sim::below(20) as u64)).await;
            drop((inbox, watch));
        });
    };
    assert_leaves_no_byte(1000, round);
}

/// A runtime that can take over a stream of the standard library.
trait Adopt: Dial {
    fn adopt(stream: TcpStream) -> Self::Tcp;
}

impl Adopt for Tokio {
    fn adopt(stream: TcpStream) -> Self::Tcp {
        stream.set_nonblocking(true).unwrap();
        stream.try_into().unwrap()
    }
}

impl Adopt for Smol {
    fn adopt(stream: TcpStream) -> Self::Tcp {
        stream.try_into().unwrap()
    }
}

impl Adopt for AsyncStd {
    fn adopt(stream: TcpStream) -> Self::Tcp {
        stream.into()
    }
}

async fn connections_come_and_go<R: Adopt>(seed: u64) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let mut rng = Rng::new(seed);
    for _ in 0..7 {
        let (over, are_over) = smol::channel::unbounded();
        for _ in 0..100 {
            let client = R::adopt(TcpStream::connect(address).unwrap());
            let server = R::adopt(listener.accept().unwrap().0);
            let (how, over, over_too) = (rng.below(6), over.clone(), over.clone());
            R::spawn(async move {
                if let Ok(socket) = Acceptor::<R>::new().accept(server).await {
                    let _ = echo(socket).await;
                }
                drop(over);
            });
            R::spawn(async move {
                if let Err(error) = come_and_go::<R, _>(client, how).await {
                    let _ = over_too.send(error.to_string()).await;
                }
            });
        }
        drop(over);
        assert_eq!(are_over.recv().await, Err(smol::channel::RecvError), "no client failed");
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0)
}

/// Waits until what is under way has ended.
fn settled(is_settled: impl Fn() -> bool) -> bool {
    (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(if is_settled() { 0 } else { 50 }));
        is_settled()
    })
}

/// 2,100 in all. The runtimes one after the other, for descriptors are counted.
#[test]
fn connections_that_come_and_go_leave_no_task_and_no_descriptor() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let metrics = runtime.metrics();
    let before = descriptors();
    runtime.block_on(connections_come_and_go::<Tokio>(1));
    let left = || (metrics.num_alive_tasks(), descriptors());
    assert!(settled(|| left().0 == 0 && left().1 <= before), "{:?} left, {before} descriptors before", left());
    drop(runtime);

    // Each starts its threads first.
    smol::block_on(smol::spawn(smol::Timer::after(Duration::from_millis(1))));
    async_std::task::block_on(async_std::task::spawn(async_std::task::sleep(Duration::from_millis(1))));
    let before = descriptors();
    smol::block_on(connections_come_and_go::<Smol>(2));
    assert!(settled(|| descriptors() <= before), "{} descriptors, {before} before", descriptors());
    async_std::task::block_on(connections_come_and_go::<AsyncStd>(3));
    assert!(settled(|| descriptors() <= before), "{} descriptors, {before} before", descriptors());
}
