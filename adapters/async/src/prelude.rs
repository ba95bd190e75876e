//! The way through a proxy, ahead of the handshake.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sansocket::RecvBuf;
use sansocket::proxy::{Prelude, ProxyError};

use crate::{Runtime, Transport};

/// Opens the tunnel. What the server has said through it already is left in `received`.
pub(crate) async fn complete<T: Transport, R: Runtime>(
    stream: &mut T,
    mut prelude: Prelude,
    received: &mut RecvBuf,
) -> Result<(), ProxyError> {
    let mut sleep: Option<Pin<Box<R::Sleep>>> = None;
    poll_fn(|cx| {
        loop {
            if let Some(outcome) = prelude.poll_outcome(received) {
                return Poll::Ready(outcome);
            }
            match poll_io(stream, &mut prelude, received, cx) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(_)) => {
                    prelude.handle_transport_error();
                    continue;
                }
                Poll::Pending => {}
            }
            let Some(at) = prelude.poll_timeout() else {
                return Poll::Pending;
            };
            ready!(sleep.get_or_insert_with(|| Box::pin(R::sleep_until(at))).as_mut().poll(cx));
            sleep = None;
            prelude.handle_timeout(R::now());
        }
    })
    .await
}

/// Writes or reads something.
fn poll_io<T: Transport>(
    stream: &mut T,
    prelude: &mut Prelude,
    received: &mut RecvBuf,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !prelude.outgoing().is_empty() {
        match stream.poll_write(cx, &[IoSlice::new(prelude.outgoing())]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => prelude.advance_outgoing(n),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => break,
        }
        if prelude.outgoing().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
    ready!(stream.poll_flush(cx))?;
    match ready!(stream.poll_read(cx, received.spare_mut()))? {
        0 => prelude.handle_eof(),
        n => received.advance_received(n),
    }
    Poll::Ready(Ok(()))
}
