//! Peers that drip: the deadline of a message holds whatever the schedule, and whoever happens to read its bytes.

use std::future::poll_fn;
use std::io::IoSlice;
use std::time::Duration;

use sansocket::{Config, Connection, ReadyState, RecvBuf, Role};
use sansocket_async::{Runtime as _, Transport, WebSocket};
use sansocket_conformance::{Manners, Pipe, Rng, Sim, Waking};

const TIMEOUT: Duration = Duration::from_secs(1);
/// Of the keeper's, when nobody receives.
const ATTENTION: Duration = Duration::from_secs(1);

/// Sends a message of which the last byte never comes; returns how long it took until the server hung up.
async fn drip(mut pipe: Pipe, interval: Duration) -> Duration {
    let mut frame = vec![0x82, 0xFF];
    frame.extend_from_slice(&1_000_000_u64.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    let mut bytes = frame.into_iter().chain(std::iter::repeat(b'a'));
    let begun = Sim::elapsed();
    let mut next = Sim::now();
    loop {
        let mut sleep = std::pin::pin!(Sim::sleep_until(next));
        let hung_up = poll_fn(|cx| {
            let mut buf = [0; 100];
            loop {
                match pipe.poll_read(cx, &mut buf) {
                    std::task::Poll::Ready(Ok(0) | Err(_)) => return std::task::Poll::Ready(true),
                    std::task::Poll::Ready(Ok(_)) => {}
                    std::task::Poll::Pending => return sleep.as_mut().poll(cx).map(|_| false),
                }
            }
        });
        if hung_up.await {
            return Sim::elapsed() - begun;
        }
        let byte = [bytes.next().unwrap_or_default()];
        let sent = poll_fn(|cx| pipe.poll_write(cx, &[IoSlice::new(&byte)])).await;
        if !matches!(sent, Ok(1)) || poll_fn(|cx| pipe.poll_flush(cx)).await.is_err() {
            return Sim::elapsed() - begun;
        }
        next += interval;
    }
}

#[test]
fn a_message_that_drips_ends_the_connection_in_time() {
    for seed in 0..1000 {
        let waking = [Waking::Queues, Waking::RunsAtOnce][(seed % 2) as usize];
        Sim::run(seed, waking, async move {
            let mut rng = Rng::new(seed);
            let (peer, pipe) = Pipe::pair(seed, Manners::any(&mut rng));
            let mut config = Config::default();
            config.message_timeout = Some(TIMEOUT);
            // So that a ping falls due beside it, or not.
            config.ping_interval = [None, Some(TIMEOUT)][rng.below(2)];
            let connection = Connection::open(Role::Server, config, [7; 32], Sim::now());
            let mut socket = WebSocket::<Pipe, Sim>::new(connection, pipe, RecvBuf::new());
            // Most bytes arrive when the deadline is due.
            let interval = TIMEOUT / [1, 2, 5, 10, 7, 3][rng.below(6)];
            let receives = rng.below(3);
            Sim::spawn(async move {
                let took = drip(peer, interval).await;
                let slack = if receives == 2 { 2 * ATTENTION } else { Duration::ZERO };
                assert!(
                    took <= TIMEOUT + slack,
                    "hung up on after {took:?}, with {config:?}",
                    config = (receives, interval)
                );
            });
            match receives {
                0 => assert!(socket.recv().await.is_err()),
                1 => assert!(socket.recv_with(|_| ()).await.is_err()),
                _ => {
                    // Nobody receives: its bytes wait until somebody does.
                    Sim::sleep(TIMEOUT * 3 / 2).await;
                    assert_eq!(socket.state(), ReadyState::Open);
                    assert!(socket.recv().await.is_err());
                }
            }
        });
    }
}
