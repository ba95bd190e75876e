//! The adapters, each behind the same few calls.

use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Instant;

use futures_util::future::{Either, select};
use sansocket::{Message, RecvBuf};
use sansocket_async::{Runtime, Sender, Transport, WebSocket, Wrap};
use sansocket_async_std::{AsyncStd, Smol};
use sansocket_tokio::Tokio;

use crate::link::{Link, Stream, Trace};
use crate::recording::{Action, Recording};
use crate::script::{Order, Script};

/// An adapter, and a way to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `sansocket-std`: one thread receives, another one sends.
    Std,
    /// `sansocket-tokio`, in two tasks.
    Tokio,
    /// `sansocket-tokio`, in one task that receives until it is to send.
    TokioWhole,
    /// `sansocket-async-std` on smol, in two tasks.
    Smol,
    /// `sansocket-async-std` on smol, in one task.
    SmolWhole,
    /// `sansocket-async-std` on async-std, in two tasks.
    AsyncStd,
    /// `sansocket-async-std` on async-std, in one task.
    AsyncStdWhole,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Std, Self::Tokio, Self::TokioWhole, Self::Smol, Self::SmolWhole, Self::AsyncStd, Self::AsyncStdWhole];

    /// Runs a script as the core did it in `recording`, and tells what could be seen; `Err` with the step at which it came no further.
    ///
    /// # Errors
    /// When the adapter does not do what the core did.
    pub fn play(self, script: &Script, recording: &Recording, chunks: u64) -> Result<Trace, String> {
        let link = Link::new(chunks);
        let mut orders = self.start(script, &link);
        for (i, (action, progress)) in recording.actions.iter().enumerate() {
            match action {
                Action::Connect | Action::TimePasses => {}
                Action::Order(order) => {
                    let counts = link.lock().room == usize::MAX;
                    orders.give(order.clone(), counts);
                }
                Action::Receive(receiving) => link.change(|state| state.receiving = *receiving),
                Action::Bytes(bytes) => link.change(|state| state.inbound.extend(bytes)),
                Action::Eof => link.change(|state| state.eof = true),
                Action::Reset => link.change(|state| state.reset = true),
                Action::Room(room) => link.change(|state| state.set_room(*room)),
            }
            link.wait_for(*progress).map_err(|reached| {
                let action = format!("{action:?}");
                let action: String = action.chars().take(80).collect();
                format!("at action {i}, {action}: expected {progress:?}, got {reached:?}")
            })?;
        }
        Ok(link.lock().trace.clone())
    }

    fn start(self, script: &Script, link: &Arc<Link>) -> Orders {
        match self {
            Self::Std => start_std(script, link),
            Self::Tokio | Self::TokioWhole => {
                static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
                let runtime = RUNTIME.get_or_init(|| {
                    let mut builder = tokio::runtime::Builder::new_multi_thread();
                    builder.worker_threads(2).enable_all().build().expect("a runtime")
                });
                let _inside = runtime.enter();
                start_async::<Tokio>(script, link, self == Self::TokioWhole)
            }
            Self::Smol | Self::SmolWhole => start_async::<Smol>(script, link, self == Self::SmolWhole),
            Self::AsyncStd | Self::AsyncStdWhole => start_async::<AsyncStd>(script, link, self == Self::AsyncStdWhole),
        }
    }
}

/// How orders reach an adapter's application. What orders come to is noted in the link, unless they do not count.
enum Orders {
    Threads { queue: mpsc::Sender<(Order, bool)>, at_once: sansocket_std::Sender<Stream> },
    Tasks(smol::channel::Sender<(Order, bool)>),
}

impl Orders {
    fn give(&mut self, order: Order, counts: bool) {
        // Refused by nobody: the application goes on until there are no more.
        match self {
            // Another order may be waiting for the stream.
            Self::Threads { at_once, .. } if matches!(order, Order::Abort) && !counts => {
                at_once.with_connection(|connection, _| connection.abort());
            }
            Self::Threads { queue, .. } => drop(queue.send((order, counts))),
            Self::Tasks(queue) => drop(queue.try_send((order, counts))),
        }
    }
}

fn start_std(script: &Script, link: &Arc<Link>) -> Orders {
    let connection = script.connection(Instant::now());
    let mut socket = sansocket_std::WebSocket::new(connection, link.stream(), RecvBuf::new());
    let (sender, at_once) = (socket.sender(), socket.sender());
    let (queue, orders) = mpsc::channel::<(Order, bool)>();
    let receiving = Arc::clone(link);
    thread::spawn(move || {
        loop {
            receiving.wait_to_receive();
            let received = socket.recv();
            let clean = received.is_ok();
            if let Ok(Some(message)) = received {
                receiving.change(|state| state.trace.received.push(message));
            } else {
                let closed = socket.closed().cloned();
                drop(socket);
                return receiving.change(|state| state.trace.ended = Some((closed, clean)));
            }
        }
    });
    let link = Arc::clone(link);
    thread::spawn(move || {
        for (order, counts) in orders {
            let taken = match &order {
                Order::Text(text) => sender.send_text(text).is_ok(),
                Order::Binary(bytes) => sender.send_binary(bytes).is_ok(),
                Order::Ping(payload) => sender.ping(payload).is_ok(),
                Order::Close(code, reason) => sender.close(*code, reason).is_ok(),
                order => sender.with_connection(|connection, now| order.give(connection, now)).is_ok(),
            };
            link.change(|state| state.trace.orders.extend(counts.then_some(taken)));
        }
    });
    Orders::Threads { queue, at_once }
}

fn start_async<R: Wrap<Stream>>(script: &Script, link: &Arc<Link>, whole: bool) -> Orders {
    let (queue, orders) = smol::channel::unbounded::<(Order, bool)>();
    let socket = WebSocket::<_, R>::new(script.connection(R::now()), R::wrap(link.stream()), RecvBuf::new());
    let link = Arc::clone(link);
    if whole {
        R::spawn(be_whole(socket, orders, link));
        return Orders::Tasks(queue);
    }
    let (sender, mut receiver) = socket.split();
    let receiving = Arc::clone(&link);
    R::spawn(async move {
        loop {
            std::future::poll_fn(|cx| receiving.poll_to_receive(cx)).await;
            let received = receiver.recv().await;
            let closed = receiver.closed();
            if note(&receiving, received, closed) {
                return;
            }
        }
    });
    R::spawn(async move {
        while let Ok((order, counts)) = orders.recv().await {
            let taken = give(&sender, order).await;
            link.change(|state| state.trace.orders.extend(counts.then_some(taken)));
        }
    });
    Orders::Tasks(queue)
}

async fn give<T: Transport, R: Runtime>(sender: &Sender<T, R>, order: Order) -> bool {
    match order {
        Order::Text(text) => sender.send_text(&text).await.is_ok(),
        Order::Binary(bytes) => sender.send_binary(&bytes).await.is_ok(),
        Order::Ping(payload) => sender.ping(&payload).await.is_ok(),
        Order::Close(code, reason) => sender.start_close(code, &reason).is_ok(),
        order => sender.with_connection(|connection, now| order.give(connection, now)).is_ok(),
    }
}

/// One task that receives, and lets go of it when there is an order.
async fn be_whole<T: Transport, R: Runtime>(
    mut socket: WebSocket<T, R>,
    orders: smol::channel::Receiver<(Order, bool)>,
    link: Arc<Link>,
) {
    let (mut may_receive, mut ended) = (false, false);
    loop {
        let next = {
            let receive = async {
                if !may_receive {
                    std::future::poll_fn(|cx| link.poll_to_receive(cx)).await;
                    may_receive = true;
                }
                if ended {
                    std::future::pending::<()>().await;
                }
                socket.recv().await
            };
            match select(std::pin::pin!(receive), std::pin::pin!(orders.recv())).await {
                Either::Left((received, _)) => Either::Left(received),
                Either::Right((order, _)) => Either::Right(order),
            }
        };
        match next {
            Either::Left(received) => {
                may_receive = false;
                let closed = socket.closed();
                ended = note(&link, received, closed);
            }
            Either::Right(Err(_)) => return,
            Either::Right(Ok((order, counts))) => {
                let taken = match order {
                    Order::Text(text) => socket.send(text).await.is_ok(),
                    Order::Binary(bytes) => socket.send(bytes).await.is_ok(),
                    Order::Ping(payload) => socket.ping(&payload).await.is_ok(),
                    Order::Close(code, reason) => socket.start_close(code, &reason).is_ok(),
                    order => socket.with_connection(|connection, now| order.give(connection, now)).is_ok(),
                };
                link.change(|state| state.trace.orders.extend(counts.then_some(taken)));
            }
        }
    }
}

/// Notes what was received; whether it is the end.
fn note(
    link: &Link,
    received: Result<Option<Message>, sansocket_async::Error>,
    closed: Option<sansocket::Closed>,
) -> bool {
    let clean = received.is_ok();
    link.change(|state| match received {
        Ok(Some(message)) => {
            state.trace.received.push(message);
            false
        }
        _ => {
            state.trace.ended = Some((closed, clean));
            true
        }
    })
}
