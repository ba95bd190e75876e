//! The ways to a server, see `adapters/common/testing`.

#[path = "../../../common/testing/mod.rs"]
mod testing;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sansocket_std::client::End;
use sansocket_std::{Acceptor, CloseCode, Config, Connector, Tls, TlsError, TlsStream, Transport};

use crate::support::{listen, within};
use testing::certificates::{Authority, Validity};

#[test]
fn every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    testing::check_all(&|options, tls, message| {
        let mut socket = Connector::from(options).tls(tls).connect()?;
        socket.send(message).unwrap();
        let received = socket.recv().unwrap().unwrap();
        assert!(socket.close(CloseCode::NORMAL, "").unwrap().clean);
        Ok(received)
    });
}

#[test]
fn so_does_every_way_for_a_client_that_outlives_its_connections() {
    testing::check_client(&|options, config, tls, message| {
        let (client, mut inbox) = Connector::from(options).tls(tls).client(config).unwrap();
        let _ = client.send(message); // It may have ended already: receiving tells.
        match inbox.recv() {
            Ok(Some(received)) => {
                let end = client.close(CloseCode::NORMAL, "", Duration::from_secs(5)).unwrap();
                assert!(matches!(end, End::Closed(Some(closed)) if closed.clean));
                Ok(received)
            }
            _ => Err(client.ended()),
        }
    });
}

/// A read brings one record at most, so that less than was asked for is not all there is.
#[test]
fn what_arrived_over_tls_in_time_counts_however_late_it_is_read() {
    within(Duration::from_secs(60), || {
        let authority = Authority::new();
        let (listener, address) = listen();
        let tls = Arc::new(authority.server("localhost", Validity::Now));
        let serving = thread::spawn(move || {
            let tls = TlsStream::server(listener.accept().unwrap().0, tls, None).unwrap();
            let mut server = Acceptor::new().accept(tls).unwrap();
            server.send(vec![7; 50_000]).unwrap();
            assert_eq!(server.recv().unwrap(), None);
        });
        let mut config = Config::default();
        config.message_timeout = Some(Duration::from_millis(200));
        let connector = Connector::new(&format!("wss://localhost:{}/", address.port())).unwrap().config(config);
        let mut client = connector.tls(authority.client()).connect().unwrap();
        let mut len = 0;
        let mut reader = client.recv_pieces().unwrap().unwrap();
        for waits in [true, true, true].into_iter().chain(std::iter::repeat(false)) {
            if waits {
                thread::sleep(Duration::from_millis(400));
            }
            match reader.recv_piece().unwrap() {
                Some(piece) => len += piece.len(),
                None => break,
            }
        }
        assert_eq!(len, 50_000);
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}

/// Senders and readers on both ends at once, with more than the sockets and rustls hold.
#[test]
fn tls_carries_both_directions_at_once() {
    within(Duration::from_secs(60), || {
        let authority = Authority::new();
        let (listener, address) = listen();
        let config = Arc::new(authority.server("localhost", Validity::Now));
        let accepting = thread::spawn(move || {
            let tls = TlsStream::server(listener.accept().unwrap().0, config, None).unwrap();
            Acceptor::new().accept(tls).unwrap()
        });
        let connector = Connector::new(&format!("wss://localhost:{}/", address.port())).unwrap();
        let mut client = connector.tls(authority.client()).connect().unwrap();
        let mut server = accepting.join().unwrap();
        let (to_server, to_client) = (client.sender(), server.sender());
        let sending = [
            thread::spawn(move || (0..100_u8).for_each(|n| to_server.send(vec![n; 100_000]).unwrap())),
            thread::spawn(move || (0..100_u8).for_each(|n| to_client.send(vec![n; 100_000]).unwrap())),
        ];
        let serving = thread::spawn(move || {
            for n in 0..100 {
                assert_eq!(server.recv().unwrap(), Some(vec![n; 100_000].into()));
            }
            assert_eq!(server.recv().unwrap(), None);
        });
        for n in 0..100 {
            assert_eq!(client.recv().unwrap(), Some(vec![n; 100_000].into()));
        }
        sending.into_iter().for_each(|sending| sending.join().unwrap());
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}

/// The heartbeat of a client that only waits is served, and so are its deadlines, though TLS is in between.
#[test]
fn deadlines_are_served_over_tls() {
    within(Duration::from_secs(60), || {
        let authority = Authority::new();
        let (listener, address) = listen();
        let config = Arc::new(authority.server("localhost", Validity::Now));
        let mute = thread::spawn(move || {
            let tls = TlsStream::server(listener.accept().unwrap().0, config, None).unwrap();
            let socket = Acceptor::new().accept(tls).unwrap();
            thread::park(); // Neither reads nor writes.
            drop(socket);
        });
        let mut config = Config::default();
        config.ping_interval = Some(Duration::from_millis(50));
        config.pong_timeout = Some(Duration::from_millis(50));
        let connector = Connector::new(&format!("wss://localhost:{}/", address.port())).unwrap().config(config);
        let mut client = connector.tls(Tls::from(authority.client())).connect().unwrap();
        let error = client.recv().unwrap_err();
        assert!(error.to_string().contains("pong"), "{error}");
        mute.thread().unpark();
        mute.join().unwrap();
    });
}

/// A stream on which nothing comes, and whose timers are early.
#[derive(Debug)]
struct Early;

impl Transport for Early {
    fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(1));
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write_vectored(&self, _: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_handshake_of_tls_has_all_its_time_and_no_more() {
    within(Duration::from_secs(60), || {
        let (authority, timeout) = (Authority::new(), Duration::from_millis(100));
        let config = Arc::new(authority.server("localhost", Validity::Now));
        for reads in [true, false] {
            let begun = Instant::now();
            let error = match reads {
                true => TlsStream::server(Early, Arc::clone(&config), Some(timeout)).unwrap_err(),
                false => TlsStream::client(Early, "localhost", &authority.client().into(), Some(timeout)).unwrap_err(),
            };
            assert!(begun.elapsed() >= timeout, "{:?}", begun.elapsed());
            assert!(matches!(error, TlsError::Handshake(error) if error.kind() == io::ErrorKind::TimedOut));
        }
        // Without a deadline, what the caller set as the stream's timeout is one.
        assert!(TlsStream::server(Early, config, None).is_err());
    });
}
