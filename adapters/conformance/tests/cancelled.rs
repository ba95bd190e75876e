//! Everything can be dropped at every await: nothing is lost, repeated or out of step, and nothing is left behind.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sansocket::{Acceptance, ClientRequest, CloseCode, Config, Rejection};
use sansocket_async::{Acceptor, ConnectError, Connector, Error, Runtime as _, WebSocket};
use sansocket_conformance::{Manners, Pipe, Rng, Sim, Waking, cancel_after, pair};

async fn echo(mut socket: WebSocket<Pipe, Sim>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Runs `test` for one await after the other, until it says that the future was ready before.
fn at_every_await<F: Future<Output = bool> + 'static>(test: impl Fn(u64, usize, Manners) -> F) {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let manners = Manners::any(&mut rng);
        // A future of a few hundred awaits is dropped at some of them.
        let (mut polls, mut step) = (1, 1);
        loop {
            let run = Sim::run(seed, Waking::Queues, test(seed, polls, manners));
            if run.output {
                break;
            }
            polls += step;
            step += polls / 40;
        }
        assert!(polls > 1 || manners.room > 100, "seed {seed}: there was nothing to cancel");
    }
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() {
    at_every_await(|seed, polls, manners| async move {
        let (mut client, mut server) = pair::<Sim>(seed, manners, &Arc::default());
        let one: Vec<u8> = Rng::new(seed).bytes(150);
        let sent = one.clone();
        Sim::spawn(async move {
            server.send(sent).await.unwrap();
            server.ping(b"between").await.unwrap();
            server.send("two").await.unwrap();
            assert_eq!(server.recv().await.unwrap(), Some("three".into()));
            assert_eq!(server.recv().await.unwrap(), None);
        });
        let cancelled = cancel_after(polls, client.recv()).await;
        let is_over = cancelled.is_some();
        let received = match cancelled {
            Some(received) => received,
            None => client.recv().await,
        };
        assert_eq!(received.unwrap(), Some(one.into()));
        assert_eq!(client.recv().await.unwrap(), Some("two".into()));
        client.send("three").await.unwrap();
        assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
        is_over
    });
}

/// A send waits only for room.
#[test]
fn a_send_that_is_dropped_has_sent_nothing() {
    at_every_await(|seed, polls, manners| async move {
        let mut config = Config::default();
        config.high_water_mark = 0;
        let (client, mut server) = pair::<Sim>(seed, manners, &Arc::new(config));
        let (sender, mut receiver) = client.split();
        let first: Vec<u8> = Rng::new(seed).bytes(600);
        sender.send(first.clone()).await.unwrap();
        Sim::spawn(async move {
            assert_eq!(server.recv().await.unwrap(), Some(first.into()));
            assert_eq!(server.recv().await.unwrap(), Some("second".into()));
            assert_eq!(server.recv().await.unwrap(), Some("third".into()));
            server.send("done").await.unwrap();
            assert_eq!(server.recv().await.unwrap(), None);
        });
        let cancelled = cancel_after(polls, sender.send("second")).await;
        let is_over = cancelled.is_some();
        match cancelled {
            Some(sent) => sent.unwrap(),
            None => sender.send("second").await.unwrap(),
        }
        sender.send("third").await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), Some("done".into()));
        sender.start_close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(receiver.recv().await.unwrap(), None);
        is_over
    });
}

#[test]
fn a_flush_that_is_dropped_changes_nothing() {
    at_every_await(|seed, polls, manners| async move {
        let (mut client, server) = pair::<Sim>(seed, manners, &Arc::default());
        Sim::spawn(async move { echo(server).await.unwrap() });
        let one: Vec<u8> = Rng::new(seed).bytes(150);
        client.send(one.clone()).await.unwrap();
        let is_over = cancel_after(polls, client.flush()).await.is_some();
        client.flush().await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(one.into()));
        assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
        is_over
    });
}

#[test]
fn a_close_that_is_dropped_can_be_waited_for_again() {
    at_every_await(|seed, polls, manners| async move {
        let (mut client, mut server) = pair::<Sim>(seed, manners, &Arc::default());
        let before: Vec<u8> = Rng::new(seed).bytes(100);
        client.send(before.clone()).await.unwrap();
        Sim::spawn(async move {
            assert_eq!(server.recv().await.unwrap(), Some(before.into()));
            assert_eq!(server.recv().await.unwrap(), None);
            assert_eq!(server.closed().unwrap().reason, "bye");
        });
        let is_over = cancel_after(polls, client.close(CloseCode::NORMAL, "bye")).await.is_some();
        let closed = client.close(CloseCode::GOING_AWAY, "again").await.unwrap();
        assert!(closed.clean && closed.code == CloseCode::NORMAL, "{closed:?}");
        assert_eq!(client.recv().await.unwrap(), None);
        is_over
    });
}

/// A client that gives up ends its stream, and the server takes notice.
#[test]
fn a_connect_that_is_dropped_ends_the_stream() {
    at_every_await(|seed, polls, manners| async move {
        let (client, server) = Pipe::pair(seed, manners);
        let accepted = Rc::new(Cell::new(false));
        Sim::spawn(async move {
            if let Ok(socket) = Acceptor::<Sim>::new().accept(server).await {
                let _ = echo(socket).await;
            }
        });
        let connector = Connector::<Sim>::from(ClientRequest::new("ws://localhost/").unwrap());
        if let Some(socket) = cancel_after(polls, connector.handshake(client)).await {
            socket.unwrap().close(CloseCode::NORMAL, "").await.unwrap();
            accepted.set(true);
        }
        accepted.get()
    });
}

/// A server that gives up ends its stream, and the client takes notice.
#[test]
fn an_accept_that_is_dropped_ends_the_stream() {
    at_every_await(|seed, polls, manners| async move {
        let (client, server) = Pipe::pair(seed, manners);
        Sim::spawn(async move {
            let connector = Connector::<Sim>::from(ClientRequest::new("ws://localhost/").unwrap());
            if let Ok(mut socket) = connector.handshake(client).await {
                let _ = socket.recv().await;
            }
        });
        let accept = cancel_after(polls, Acceptor::<Sim>::new().accept(server)).await;
        let is_over = accept.is_some();
        if let Some(socket) = accept {
            assert!(socket.unwrap().close(CloseCode::NORMAL, "").await.unwrap().clean);
        }
        is_over
    });
}

/// So does one that gives up while it rejects.
#[test]
fn a_rejection_that_is_dropped_ends_the_stream() {
    at_every_await(|seed, polls, manners| async move {
        let (client, server) = Pipe::pair(seed, manners);
        Sim::spawn(async move {
            let connector = Connector::<Sim>::from(ClientRequest::new("ws://localhost/").unwrap());
            assert!(connector.handshake(client).await.is_err());
        });
        let incoming = Acceptor::<Sim>::new().receive(server).await.unwrap();
        let rejection = Rejection::new(404).unwrap().body("not here");
        cancel_after(polls, incoming.reject(&rejection)).await.is_some_and(|rejected| {
            rejected.unwrap();
            true
        })
    });
}

/// Dropped whole, and cut, in any state: everybody is told, and no task is left, which [`Sim::run`] waits for.
#[test]
fn a_connection_may_be_dropped_or_cut_in_any_state() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let manners = Manners::any(&mut rng);
        let waking = if rng.once_in(2) { Waking::Queues } else { Waking::RunsAtOnce };
        let (after, len, how) = (rng.below(60), rng.below(1000), rng.below(5));
        let run = Sim::run(seed, waking, async move {
            let (client, server) = Pipe::pair(seed, manners);
            let cut = client.cutter();
            Sim::spawn(async move {
                if let Ok(socket) = Acceptor::<Sim>::new().accept(server).await {
                    let _ = echo(socket).await;
                }
            });
            let connector = Connector::<Sim>::from(ClientRequest::new("ws://localhost/").unwrap());
            let talk = async move {
                let (sender, mut receiver) = connector.handshake(client).await?.split();
                let other = sender.clone();
                Sim::spawn(async move {
                    for _ in 0..20 {
                        let _ = other.send(vec![7; len]).await;
                    }
                });
                match how {
                    0 => drop(receiver),
                    1 => drop(sender),
                    2 => while receiver.recv().await?.is_some() {},
                    _ => {
                        receiver.recv().await?;
                        sender.start_close(CloseCode::NORMAL, "")?;
                        while receiver.recv().await?.is_some() {}
                    }
                }
                Ok::<_, Box<dyn std::error::Error>>(())
            };
            let _ = cancel_after(after, talk).await;
            let cancelled_at = Sim::elapsed();
            if how != 4 {
                cut();
            }
            cancelled_at
        });
        let took = run.elapsed - run.output;
        assert!(took <= Config::default().close_timeout.unwrap(), "seed {seed}: it took {took:?}");
    }
}

#[test]
fn a_request_that_is_not_decided_on_is_dropped() {
    Sim::run(1, Waking::Queues, async {
        let (client, server) = Pipe::pair(1, Manners::default());
        Sim::spawn(async move {
            let connector = Connector::<Sim>::from(ClientRequest::new("ws://localhost/").unwrap());
            assert!(connector.handshake(client).await.is_err());
        });
        drop(Acceptor::<Sim>::new().receive(server).await.unwrap());
    });
}

/// The deadline runs while the application decides.
#[test]
fn a_request_that_is_accepted_too_late_is_refused() {
    for (seconds, is_accepted) in [(9, true), (10, false)] {
        Sim::run(1, Waking::Queues, async move {
            let (client, server) = Pipe::pair(1, Manners::default());
            Sim::spawn(async move {
                let mut patient = Config::default();
                patient.handshake_timeout = None;
                let connector = Connector::<Sim>::from(ClientRequest::new("ws://localhost/").unwrap()).config(patient);
                match connector.handshake(client).await {
                    Ok(mut socket) => assert_eq!((is_accepted, socket.recv().await.unwrap()), (true, None)),
                    Err(ConnectError::Refused(refusal)) => assert_eq!((is_accepted, refusal.status), (false, 503)),
                    Err(error) => panic!("{error}"),
                }
            });
            let incoming = Acceptor::<Sim>::new().receive(server).await.unwrap();
            Sim::sleep(Duration::from_secs(seconds)).await;
            match incoming.accept(&Acceptance::new()).await {
                Ok(mut socket) => assert!(is_accepted && socket.close(CloseCode::NORMAL, "").await.unwrap().clean),
                Err(error) => assert!(!is_accepted && error.to_string().contains("handshake timeout"), "{error}"),
            }
        });
    }
}
