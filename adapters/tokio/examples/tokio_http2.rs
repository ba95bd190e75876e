//! WebSockets over HTTP/2 (RFC 8441), both ends, over the crate `h2`: `tokio_http2` serves on a free port and talks to itself.
//!
//! One HTTP/2 connection carries any number of WebSockets beside its other requests. Here it runs over plain TCP; browsers want TLS.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Ping, Reason, RecvStream, SendStream};
use sansocket_tokio::handshake::choose_subprotocol;
use sansocket_tokio::{Acceptance, Acceptor, Bytes, CloseCode, Connector, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { serve(listener.accept().await?.0, h2::server::Builder::new()).await });

    let mut http = Client::connect(TcpStream::connect(address).await?).await?;
    let connector = Connector::new(&format!("ws://{address}/echo"))?.subprotocol("echo")?;
    let mut socket = http.open(&connector).await?;
    socket.send("hello").await?;
    let back = socket.recv().await?;
    let closed = socket.close(CloseCode::NORMAL, "done").await?;
    #[allow(clippy::print_stdout)]
    {
        println!("{:?} came back over HTTP/2; {closed}", back.as_ref().and_then(|message| message.as_text()));
    }
    Ok(())
}

/// Serves one HTTP/2 connection: each extended `CONNECT` becomes a WebSocket that echoes.
pub(crate) async fn serve<T>(io: T, mut http: h2::server::Builder) -> Result<(), Box<dyn Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = http.enable_connect_protocol().handshake(io).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(async move {
            if let Some(mut socket) = accept(request, respond)? {
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
            }
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        });
    }
    Ok(())
}

/// Answers a request; `None` when it has been refused.
pub(crate) fn accept(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<Option<WebSocket<H2Stream>>, Box<dyn Error + Send + Sync>> {
    let mut acceptance = Acceptance::new();
    if let Ok(Some(chosen)) = choose_subprotocol(request.headers(), &["echo"]) {
        acceptance = acceptance.subprotocol(chosen)?;
    }
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    match Acceptor::new().upgrade_connect(&request, protocol, &acceptance) {
        Ok((response, upgrade)) => {
            let send = respond.send_response(response.map(drop), false)?;
            Ok(Some(upgrade.open(H2Stream::new(send, request.into_body()))))
        }
        Err(error) => {
            let (head, body) = error.to_response().into_parts();
            let mut send = respond.send_response(http::Response::from_parts(head, ()), false)?;
            send.send_data(body, true)?;
            Ok(None)
        }
    }
}

/// A client's HTTP/2 connection.
pub(crate) struct Client {
    http: h2::client::SendRequest<Bytes>,
}

impl Client {
    pub(crate) async fn connect<T>(io: T) -> Result<Self, h2::Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (http, mut connection) = h2::client::handshake(io).await?;
        let pings = connection.ping_pong();
        tokio::spawn(connection);
        if let Some(mut pings) = pings {
            // The settings are the first that a server sends: they are known once it has answered anything.
            pings.ping(Ping::opaque()).await?;
        }
        Ok(Self { http })
    }

    pub(crate) async fn open(
        &mut self,
        connector: &Connector,
    ) -> Result<WebSocket<H2Stream>, Box<dyn Error + Send + Sync>> {
        if !self.http.is_extended_connect_protocol_enabled() {
            return Err("the server does not offer WebSockets over HTTP/2".into());
        }
        let mut request = connector.connect_request()?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let (response, send) = self.http.clone().ready().await?.send_request(request, false)?;
        let (head, body) = response.await?.into_parts();
        let response = http::Response::from_parts(head, ());
        Ok(connector.open_connect(&response, H2Stream::new(send, body))?)
    }
}

/// A stream of HTTP/2 as a byte stream.
///
/// Its orderly end is `END_STREAM`; dropped before, it is reset with `CANCEL` (RFC 8441 section 5).
pub(crate) struct H2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// What has arrived and was not read; the peer may send as much again when it is.
    unread: Bytes,
    recv_ended: bool,
    send_ended: bool,
}

impl H2Stream {
    pub(crate) fn new(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Self { send, recv, unread: Bytes::new(), recv_ended: false, send_ended: false }
    }

    fn end(&mut self) -> Result<(), h2::Error> {
        if !std::mem::replace(&mut self.send_ended, true) {
            self.send.send_data(Bytes::new(), true)?;
        }
        Ok(())
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.unread.is_empty() {
            match ready!(this.recv.poll_data(cx)) {
                Some(data) => this.unread = data.map_err(error)?,
                None => {
                    this.recv_ended = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let read = this.unread.split_to(this.unread.len().min(buf.remaining()));
        buf.put_slice(&read);
        this.recv.flow_control().release_capacity(read.len()).map_err(error)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        while self.send.capacity() == 0 {
            self.send.reserve_capacity(buf.len());
            match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => drop(capacity.map_err(error)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let part = buf.get(..self.send.capacity()).unwrap_or(buf);
        self.send.send_data(Bytes::copy_from_slice(part), false).map_err(error)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // The connection's task writes what it is given.
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end().map_err(error))
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        if self.recv_ended {
            // The peer has said all: this is how TCP would end, too. A connection that is gone needs no end.
            let _ = self.end();
        } else {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

fn error(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::CANCEL | Reason::NO_ERROR) => io::Error::new(io::ErrorKind::ConnectionReset, error),
        _ if error.is_io() => error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        _ => io::Error::other(error),
    }
}
