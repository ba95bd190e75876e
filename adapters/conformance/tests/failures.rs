//! A stream that fails ends the connection, and hides nothing that arrived before: on a simulated runtime.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use sansocket::{CloseCode, Config, Connection, RecvBuf, Role};
use sansocket_async::{Runtime as _, Transport as _, WebSocket};
use sansocket_conformance::{Manners, Pipe, Rng, Sim, Waking};

type Socket = WebSocket<Pipe, Sim>;

/// An open client whose server has said these bytes and is gone.
async fn left_alone(seed: u64, manners: Manners, config: Config, said: &[u8]) -> Socket {
    let (client, mut raw) = Pipe::pair(seed, manners);
    let mut rest = said;
    while !rest.is_empty() {
        let n = poll_fn(|cx| raw.poll_write(cx, &[IoSlice::new(rest)])).await.unwrap();
        rest = &rest[n..];
    }
    poll_fn(|cx| raw.poll_flush(cx)).await.unwrap();
    drop(raw);
    let connection = Connection::open(Role::Client, Arc::new(config), [7; 32], Sim::now());
    WebSocket::new(connection, client, RecvBuf::new())
}

/// Messages that number themselves, of `len` bytes each with their headers.
fn messages(count: u8, len: u8) -> Vec<u8> {
    (0..count).flat_map(|number| [&[0x82, len - 2][..], &vec![number; usize::from(len - 2)]].concat()).collect()
}

/// How many of them arrive, in order, before the end, which is a failure.
async fn received(mut socket: Socket) -> usize {
    let mut count = 0;
    let error = loop {
        match socket.recv().await {
            Ok(message) => assert_eq!(usize::from(message.expect("no clean end").as_bytes()[0]), count),
            Err(error) => break error,
        }
        count += 1;
    };
    assert_eq!(error.closed().unwrap().code, CloseCode::ABNORMAL);
    count
}

/// What is written first.
#[derive(Clone, Copy, Debug)]
enum Written {
    Message,
    /// By the keeper, while nobody receives.
    Ping,
    Pong,
}

#[test]
fn a_write_that_fails_does_not_hide_what_arrived_before() {
    for seed in 0..60 {
        for written in [Written::Message, Written::Ping, Written::Pong] {
            let mut rng = Rng::new(seed);
            let manners = Manners { room: 65_536, ..Manners::any(&mut rng) };
            Sim::run(seed, Waking::Queues, async move {
                let mut said = messages(200, 50);
                let mut config = Config::default();
                match written {
                    Written::Message => {}
                    Written::Ping => config.ping_interval = Some(Duration::from_millis(100)),
                    Written::Pong => drop(said.splice(0..0, [0x89, 0])),
                }
                let mut socket = left_alone(seed, manners, config, &said).await;
                match written {
                    Written::Message => drop(socket.send("x").await),
                    Written::Ping => Sim::sleep(Duration::from_secs(1)).await,
                    Written::Pong => {}
                }
                assert_eq!(received(socket).await, 200, "seed {seed}, {written:?}");
            });
        }
    }
}

#[test]
fn so_much_is_read_then_as_the_longest_message_may_have() {
    const READ_LEN_MAX: usize = sansocket::buffer::READ_SIZE;
    Sim::run(7, Waking::Queues, async {
        let mut config = Config::default();
        config.message_len_max = 10_000;
        let mut socket = left_alone(7, Manners::default(), config, &messages(255, 127)).await;
        drop(socket.send("x").await);
        let len = received(socket).await * 127;
        assert!((10_000 - 127..=10_000 + READ_LEN_MAX).contains(&len), "{len}");
    });
}
