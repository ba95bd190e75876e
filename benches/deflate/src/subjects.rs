//! Who does the work: each library the way its documentation recommends, as a server, each message written out at once.

use ::sansocket::deflate::DeflatePool;
use bytes::Bytes;

use crate::Parameters;
use crate::wire::{Wire, digest};

/// A connection that is open, and has agreed on compression.
pub(crate) trait Socket {
    /// Receives a text; its digest.
    fn receive(&mut self) -> u64;
    fn send(&mut self, text: &Bytes);
    /// Gives back what an idle connection can do without, if the library can.
    fn idle(&mut self) {}
}

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) open: Open,
}

/// `None` for parameters that it does not have. The pool is sansocket's, to share machinery with other connections.
pub(crate) type Open = fn(Parameters, &DeflatePool, Wire) -> Option<Box<dyn Socket>>;

pub(crate) const SUBJECTS: [Subject; 2] = [
    Subject { name: "sansocket", open: sansocket::open },
    #[cfg(feature = "yawc")]
    Subject { name: "yawc", open: yawc::open },
    #[cfg(feature = "soketto")]
    Subject { name: "soketto", open: soketto::open },
];

mod sansocket {
    use std::time::Instant;

    use ::sansocket::deflate::DeflateConfig;
    use ::sansocket::{Config, Connection, Event, RecvBuf, Role};

    use super::{Bytes, DeflatePool, Parameters, Socket, Wire, digest};

    struct Server {
        connection: Connection,
        buf: RecvBuf,
        now: Instant,
        wire: Wire,
    }

    pub(super) fn open(parameters: Parameters, pool: &DeflatePool, wire: Wire) -> Option<Box<dyn Socket>> {
        let mut deflate = DeflateConfig::default();
        (deflate.level, deflate.memory_level, deflate.window_bits) = (parameters.level, 8, 15);
        deflate.pool = pool.clone();
        let mut config = Config::default();
        config.deflate = Some(deflate);
        let now = Instant::now();
        let connection = Connection::open(Role::Server, config, [7; 32], now).with_deflate(Some(parameters.agreed()));
        Some(Box::new(Server { connection, buf: RecvBuf::new(), now, wire }))
    }

    impl Socket for Server {
        fn receive(&mut self) -> u64 {
            loop {
                match self.connection.poll_event(self.now, &mut self.buf) {
                    Some(Event::Text(text)) => return digest(text.as_bytes()),
                    Some(Event::Inflating) => {}
                    Some(event) => panic!("{event:?}"),
                    None => {
                        let n = self.wire.read_into(self.buf.spare_mut());
                        self.buf.advance_received(n);
                    }
                }
            }
        }

        fn send(&mut self, text: &Bytes) {
            let text = std::str::from_utf8(text).expect("texts are texts");
            self.connection.send_text(self.now, text).expect("there is room");
            while self.connection.buffered_len() > 0 {
                let n = self.wire.put(self.connection.outgoing());
                self.connection.advance_outgoing(self.now, n);
            }
        }

        fn idle(&mut self) {
            self.connection.release();
            self.buf.release();
        }
    }
}

#[cfg(feature = "yawc")]
mod yawc {
    use std::sync::LazyLock;

    use ::yawc::{CompressionLevel, DeflateOptions, Frame, Options, Role, WebSocket};
    use futures_util::{SinkExt, StreamExt};

    use super::{Bytes, DeflatePool, Parameters, Socket, Wire, digest};
    use crate::wire::now;

    struct Server(WebSocket<Wire>);

    pub(super) fn open(parameters: Parameters, _: &DeflatePool, wire: Wire) -> Option<Box<dyn Socket>> {
        // It shares machinery without context takeover only.
        static POOL: LazyLock<::yawc::DeflatePool> = LazyLock::new(|| ::yawc::DeflatePool::new(16));
        let deflate = DeflateOptions {
            pool: parameters.no_context_takeover.then(|| POOL.clone()),
            level: CompressionLevel::new(parameters.level.into()),
            server_no_context_takeover: parameters.no_context_takeover,
            client_no_context_takeover: parameters.no_context_takeover,
            ..DeflateOptions::default()
        };
        let mut options = Options::default().with_utf8().with_limits(4 << 20, 8 << 20);
        options.compression = Some(deflate);
        let agreed = parameters.agreed().to_string();
        let socket = WebSocket::from_stream_with_extensions(wire, Role::Server, Some(&agreed), options);
        Some(Box::new(Server(socket.expect("the extension is known"))))
    }

    impl Socket for Server {
        fn receive(&mut self) -> u64 {
            digest(now(self.0.next()).expect("a message").payload())
        }

        fn send(&mut self, text: &Bytes) {
            now(self.0.send(Frame::text(text.clone()))).expect("the transport takes all");
        }
    }
}

#[cfg(feature = "soketto")]
mod soketto {
    use ::soketto::connection::Builder;
    use ::soketto::extension::{Extension as _, Param, deflate::Deflate};
    use ::soketto::{Mode, Receiver, Sender};
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

    use super::{Bytes, DeflatePool, Parameters, Socket, Wire, digest};
    use crate::wire::now;

    struct Server {
        sender: Sender<Compat<Wire>>,
        receiver: Receiver<Compat<Wire>>,
        message: Vec<u8>,
    }

    /// It compresses at level 1, each message on its own.
    pub(super) fn open(parameters: Parameters, _: &DeflatePool, wire: Wire) -> Option<Box<dyn Socket>> {
        if !parameters.no_context_takeover || parameters.level != 1 {
            return None;
        }
        let mut deflate = Deflate::new(Mode::Server);
        let params = ["server_no_context_takeover", "client_no_context_takeover"].map(Param::new);
        deflate.configure(&params).expect("it takes these");
        let mut builder = Builder::new(wire.compat(), Mode::Server);
        builder.add_extensions([Box::new(deflate) as Box<_>]);
        let (sender, receiver) = builder.finish();
        Some(Box::new(Server { sender, receiver, message: Vec::new() }))
    }

    impl Socket for Server {
        fn receive(&mut self) -> u64 {
            self.message.clear();
            now(self.receiver.receive_data(&mut self.message)).expect("a message");
            // As in its example: it leaves that check to its user.
            digest(std::str::from_utf8(&self.message).expect("UTF-8").as_bytes())
        }

        fn send(&mut self, text: &Bytes) {
            now(self.sender.send_text(std::str::from_utf8(text).expect("texts are texts"))).expect("there is room");
            now(self.sender.flush()).expect("the transport takes all");
        }
    }
}
