//! A host of several addresses, on the simulated runtime.

use std::io;
use std::time::Duration;

use sansocket_async::{Acceptor, ConnectError, Connector};
use sansocket_conformance::{Dialled, Manners, Pipe, Sim, Waking};

const MS: Duration = Duration::from_millis(1);

/// What an address does, and after how long.
#[derive(Clone, Copy, Debug)]
enum Address {
    Answers(u32),
    Refuses(u32),
    Silent,
}
use Address::{Answers, Refuses, Silent};

/// Connects to a host of these addresses; how long that took, and which of them answered, or the error.
fn connect(addresses: &[Address]) -> (Duration, Result<usize, ConnectError>) {
    let addresses = addresses.to_vec();
    let run = Sim::run(7, Waking::Queues, async move {
        Sim::network_of(addresses.len(), move |dialled| match addresses[dialled] {
            Refuses(after) => Dialled::Refused(after * MS),
            Silent => Dialled::Unanswered,
            Answers(after) => {
                let (client, server) = Pipe::pair(7, Manners::default());
                Sim::spawn_here(async move {
                    // Nobody shakes hands with those that were too late.
                    if let Ok(mut socket) = Acceptor::<Sim>::new().accept(server).await {
                        let _ = socket.send(dialled.to_string()).await;
                        let _ = socket.recv().await;
                    }
                });
                Dialled::Connected(after * MS, client)
            }
        });
        let connector = Connector::<Sim>::new("ws://localhost/").unwrap().connect_timeout(Some(2000 * MS));
        let connected = connector.connect().await;
        let took = Sim::elapsed();
        match connected {
            Err(error) => (took, Err(error)),
            Ok(mut socket) => {
                let message = socket.recv().await.unwrap().unwrap();
                (took, Ok(message.as_text().unwrap().parse().unwrap()))
            }
        }
    });
    run.output
}

#[test]
fn an_address_that_is_silent_hides_no_other() {
    for (addresses, took, reached) in [
        (&[Answers(10)][..], 10, 0),
        (&[Silent, Answers(10)], 260, 1),
        (&[Silent, Silent, Silent, Answers(10)], 760, 3),
        // One that has failed is not waited for.
        (&[Refuses(5), Answers(10)], 15, 1),
        (&[Refuses(5), Silent, Refuses(0), Answers(10)], 265, 3),
        // The first to answer is taken, not the last to be tried.
        (&[Answers(249), Answers(0)], 249, 0),
        (&[Answers(300), Answers(100)], 300, 0),
        (&[Answers(300), Answers(10)], 260, 1),
        (&[Silent, Refuses(10), Answers(10)], 270, 2),
    ] {
        let (elapsed, connected) = connect(addresses);
        assert_eq!((elapsed, connected.unwrap()), (took * MS, reached), "{addresses:?}");
    }
}

#[test]
fn when_none_answers_the_last_failure_or_the_deadline_tells() {
    let (elapsed, error) = connect(&[Refuses(10), Refuses(20)]);
    assert_eq!(elapsed, 30 * MS);
    assert!(matches!(error, Err(ConnectError::Io { source, .. }) if source.kind() == io::ErrorKind::ConnectionRefused));
    let (elapsed, error) = connect(&[Silent, Refuses(10)]);
    assert_eq!(elapsed, 2000 * MS);
    assert!(matches!(error, Err(ConnectError::TimedOut { .. })), "{error:?}");
    let (_, error) = connect(&[]);
    assert!(matches!(error, Err(ConnectError::Resolve { .. })), "{error:?}");
}
