//! What the adapters of [`sansocket`] are held to: one behaviour, no lost wake-up, nothing left behind. The claims are in `tests/`, and what they
//! need in here.

mod link;
mod pipe;
mod recording;
mod rng;
mod script;
mod sim;
mod subject;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

pub use link::{Stream, Trace};
pub use pipe::{Manners, Pipe};
pub use recording::Recording;
pub use rng::Rng;
use sansocket::{Config, Connection, RecvBuf, Role};
use sansocket_async::{Runtime, WebSocket};
pub use script::{Order, Script, Step, raw_frame, timeless};
pub use sim::{Dialled, POLLS_MAX, Run, Sim, Sleep, Waking};
pub use subject::Subject;

/// Two open connections with a pipe between them, the client first.
pub fn pair<R: Runtime>(seed: u64, manners: Manners, config: &Arc<Config>) -> (WebSocket<Pipe, R>, WebSocket<Pipe, R>) {
    let (client, server) = Pipe::pair(seed, manners);
    let open = |role, pipe| {
        let connection = Connection::open(role, Arc::clone(config), [role as u8; 32], R::now());
        WebSocket::new(connection, pipe, RecvBuf::new())
    };
    (open(Role::Client, client), open(Role::Server, server))
}

/// Polls a future `polls` times, each when it was woken, then drops it; `None` when it was not ready by then.
pub async fn cancel_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Makes a test of each body on each of the runtimes.
#[macro_export]
macro_rules! on_every_runtime {
    ($($claim:ident: $body:ident($($argument:expr),*);)*) => {
        mod on_tokio {
            #[allow(unused_imports)]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$body::<::sansocket_tokio::Tokio>($($argument),*).await;
            })*
        }

        mod on_smol {
            #[allow(unused_imports)]
            use super::*;

            $(#[test]
            fn $claim() {
                smol::block_on(super::$body::<::sansocket_async_std::Smol>($($argument),*));
            })*
        }

        mod on_async_std {
            #[allow(unused_imports)]
            use super::*;

            $(#[test]
            fn $claim() {
                async_std::task::block_on(super::$body::<::sansocket_async_std::AsyncStd>($($argument),*));
            })*
        }
    };
}
