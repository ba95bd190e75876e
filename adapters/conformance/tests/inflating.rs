//! While a long message is inflated, others have their turn: counted in polls on the simulated runtime.

use std::time::Duration;

use sansocket::client::ClientConfig;
use sansocket::deflate::DeflateConfig;
use sansocket::{CloseCode, Config};
use sansocket_async::{Acceptor, Connector};
use sansocket_conformance::{Dialled, Manners, Pipe, Sim, Waking};

const LEN: usize = 1_000_000;

fn deflating(inflated_per_poll_max: usize) -> Config {
    let (mut config, mut deflate) = (Config::default(), DeflateConfig::default());
    deflate.inflated_per_poll_max = inflated_per_poll_max;
    config.deflate = Some(deflate);
    config
}

/// How many polls it takes to receive one message of so many bytes, few on their way, from a server that says nothing else.
fn polls<F: Future<Output = ()> + 'static>(
    len: usize,
    inflated_per_poll_max: usize,
    receive: fn(Connector<Sim>) -> F,
) -> usize {
    let run = async move {
        Sim::network(move || {
            let (client, server) = Pipe::pair(1, Manners::default());
            Sim::spawn_here(async move {
                let acceptor = Acceptor::<Sim>::new().config(deflating(usize::MAX));
                let mut socket = acceptor.accept(server).await.unwrap();
                socket.send("x".repeat(len)).await.unwrap();
                assert_eq!(socket.recv().await.unwrap(), None);
            });
            Dialled::Connected(Duration::ZERO, client)
        });
        receive(Connector::new("ws://localhost/").unwrap().config(deflating(inflated_per_poll_max))).await;
    };
    Sim::run(1, Waking::Queues, run).polls
}

#[test]
fn a_client_gives_others_their_turn() {
    let of = |per_poll| {
        polls(LEN, per_poll, |connector| async move {
            let (client, mut inbox) = connector.client(ClientConfig::default()).unwrap();
            assert_eq!(inbox.recv().await.unwrap().unwrap().as_bytes().len(), LEN);
            client.close(CloseCode::NORMAL, "", Duration::from_secs(1)).await.unwrap();
        })
    };
    let more = of(LEN / 1000) - of(LEN);
    assert!((900..=1100).contains(&more), "{more}");
}

#[test]
fn a_receive_gives_others_their_turn() {
    let of = |per_poll| {
        polls(LEN, per_poll, |connector| async move {
            let mut socket = connector.connect().await.unwrap();
            assert_eq!(socket.recv().await.unwrap().unwrap().as_bytes().len(), LEN);
            socket.close(CloseCode::NORMAL, "").await.unwrap();
        })
    };
    let more = of(LEN / 1000) - of(LEN);
    assert!((900..=1100).contains(&more), "{more}");
}

/// It discards the message in small pieces, many in each turn.
#[test]
fn the_keeper_of_a_connection_that_nobody_receives_from_gives_others_their_turn() {
    let of = |len| {
        polls(len, usize::MAX, |connector| async move {
            let (sender, receiver) = connector.connect().await.unwrap().split();
            drop(receiver);
            Sim::sleep(Duration::from_secs(10)).await;
            drop(sender);
        })
    };
    let more = of(LEN) - of(0);
    assert!((20..=1000).contains(&more), "{more}");
}
