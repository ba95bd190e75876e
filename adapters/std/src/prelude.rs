//! The way through a proxy, ahead of the handshake.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use sansocket::RecvBuf;
use sansocket::proxy::{Prelude, ProxyError};

use crate::Transport;

/// Opens the tunnel, before `deadline`; `None` when that has passed. What the server has said through it already is left in `received`.
pub(crate) fn complete<S: Transport>(
    stream: &S,
    mut prelude: Prelude,
    received: &mut RecvBuf,
    deadline: Option<Instant>,
) -> Option<Result<(), ProxyError>> {
    loop {
        if let Some(outcome) = prelude.poll_outcome(received) {
            return Some(outcome);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return None;
        }
        prelude.handle_timeout(now);
        if !prelude.wants_read() {
            continue;
        }
        let due = [deadline, prelude.poll_timeout()].into_iter().flatten().min();
        let timeout = due.map(|due| due.saturating_duration_since(now).max(TIMEOUT_MIN));
        if step(stream, &mut prelude, received, timeout).is_err() {
            prelude.handle_transport_error();
        }
    }
}

/// Writes or reads something, or waits in vain.
fn step<S: Transport>(
    stream: &S,
    prelude: &mut Prelude,
    received: &mut RecvBuf,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let result = if prelude.outgoing().is_empty() {
        stream.set_read_timeout(timeout)?;
        stream.read(received.spare_mut()).map(|n| match n {
            0 => prelude.handle_eof(),
            n => received.advance_received(n),
        })
    } else {
        stream.set_write_timeout(timeout)?;
        match stream.write_vectored(&[IoSlice::new(prelude.outgoing())]) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written.map(|n| prelude.advance_outgoing(n)),
        }
    };
    match result {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Sockets refuse to wait for no time at all.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
