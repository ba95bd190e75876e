//! Who writes how often, seen by a transport in memory that counts.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use sansocket_std::{Acceptor, CloseCode, Connector, Transport, WebSocket};

use crate::support::{LIMIT, echo, within};

/// One direction: what was written, and whether that was all.
#[derive(Default)]
struct Pipe {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

/// One end of two pipes.
struct End {
    from: Arc<Pipe>,
    to: Arc<Pipe>,
    room: usize,
    read_timeout: Mutex<Option<Duration>>,
    write_timeout: Mutex<Option<Duration>>,
    writes: AtomicUsize,
    timeouts_set: AtomicUsize,
}

fn memory(room: usize) -> (End, End) {
    let (a, b) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
    let end = |from: &Arc<Pipe>, to: &Arc<Pipe>| End {
        from: Arc::clone(from),
        to: Arc::clone(to),
        room,
        read_timeout: Mutex::default(),
        write_timeout: Mutex::default(),
        writes: AtomicUsize::new(0),
        timeouts_set: AtomicUsize::new(0),
    };
    (end(&a, &b), end(&b, &a))
}

impl Pipe {
    fn when<R>(
        &self,
        timeout: Option<Duration>,
        mut ready: impl FnMut(&mut (VecDeque<u8>, bool)) -> Option<R>,
    ) -> io::Result<R> {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(result) = ready(&mut state) {
                self.changed.notify_all();
                return Ok(result);
            }
            let result;
            (state, result) = self.changed.wait_timeout(state, timeout.unwrap_or(LIMIT)).unwrap();
            if result.timed_out() {
                return ready(&mut state).ok_or(io::ErrorKind::WouldBlock.into());
            }
        }
    }
}

impl Transport for End {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let timeout = *self.read_timeout.lock().unwrap();
        self.from.when(timeout, |(bytes, ended)| {
            let n = buf.len().min(bytes.len());
            buf.iter_mut().zip(bytes.drain(..n)).for_each(|(to, from)| *to = from);
            (n > 0 || *ended).then_some(n)
        })
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let timeout = *self.write_timeout.lock().unwrap();
        self.to.when(timeout, |(bytes, ended)| {
            let room = self.room.saturating_sub(bytes.len());
            let before = bytes.len();
            bytes.extend(bufs.iter().flat_map(|buf| buf.iter()).take(room));
            (bytes.len() > before || *ended).then_some(bytes.len() - before)
        })
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts_set.fetch_add(1, Ordering::Relaxed);
        *self.read_timeout.lock().unwrap() = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *self.write_timeout.lock().unwrap() = timeout;
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        for (pipe, ends) in [(&self.from, how != Shutdown::Write), (&self.to, how != Shutdown::Read)] {
            pipe.state.lock().unwrap().1 |= ends;
            pipe.changed.notify_all();
        }
        Ok(())
    }
}

fn pair(room: usize) -> (WebSocket<Arc<End>>, WebSocket<Arc<End>>) {
    let (a, b) = memory(room);
    let accepting = thread::spawn(move || Acceptor::new().accept(Arc::new(b)).unwrap());
    let client = Connector::new("ws://memory/").unwrap().handshake(Arc::new(a)).unwrap();
    (client, accepting.join().unwrap())
}

fn writes(socket: &WebSocket<Arc<End>>) -> usize {
    socket.transport().writes.load(Ordering::Relaxed)
}

#[test]
fn what_was_fed_leaves_in_one_write() {
    within(LIMIT, || {
        let (mut client, mut server) = pair(1 << 20);
        let before = writes(&client);
        for _ in 0..100 {
            client.feed("one of many").unwrap();
        }
        assert_eq!(writes(&client), before);
        client.flush().unwrap();
        assert_eq!(writes(&client), before + 1);
        client.flush().unwrap();
        assert_eq!(writes(&client), before + 1);
        client.send_text("at once").unwrap();
        assert_eq!(writes(&client), before + 2);

        // The echo of what one read brought leaves in one write, too.
        let transport = Arc::clone(server.transport());
        let before = transport.writes.load(Ordering::Relaxed);
        let serving = thread::spawn(move || echo(&mut server));
        for _ in 0..101 {
            client.recv().unwrap().unwrap();
        }
        assert_eq!(transport.writes.load(Ordering::Relaxed), before + 1);
        client.close(CloseCode::NORMAL, "").unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn a_busy_connection_sets_its_timeouts_rarely() {
    within(LIMIT, || {
        let (mut client, mut server) = pair(1 << 20);
        let serving = thread::spawn(move || echo(&mut server));
        let transport = Arc::clone(client.transport());
        let before = transport.timeouts_set.load(Ordering::Relaxed);
        for _ in 0..1000 {
            client.send_text("ping").unwrap();
            client.recv().unwrap().unwrap();
        }
        let set = transport.timeouts_set.load(Ordering::Relaxed) - before;
        assert!(set <= 10, "set {set} times for 1000 messages");
        client.close(CloseCode::NORMAL, "").unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn a_transport_that_takes_a_byte_at_a_time_gets_everything_there() {
    within(LIMIT, || {
        let (mut client, mut server) = pair(1);
        let sender = client.sender();
        let serving = thread::spawn(move || echo(&mut server));
        let sending = thread::spawn(move || {
            for _ in 0..20 {
                sender.send_text("from another thread").unwrap();
            }
        });
        for _ in 0..20 {
            client.recv().unwrap().unwrap();
        }
        sending.join().unwrap();
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}
