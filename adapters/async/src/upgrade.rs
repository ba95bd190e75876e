//! WebSockets whose handshake goes by an HTTP library: the upgrade of a server, extended `CONNECT` on both sides (feature `http`).

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use sansocket::handshake::{
    AnswerError, ConnectFault, PseudoHeaders, RequestFault, ResponseFault, check_connect_response,
    check_extended_connect, check_http_request, connect_acceptance, connect_request,
};
use sansocket::{Acceptance, AgreedExtensions, Bytes, Config, Connection, RecvBuf, Role};
use sansocket_common::seed;

use crate::{Acceptor, Connector, Runtime, WebSocket, Wrap};

impl<R: Runtime> Acceptor<R> {
    /// Accepts a request that an HTTP server has received, over HTTP/1.1: the answer to return, and what becomes the WebSocket.
    ///
    /// Origins are judged by [`Config::origin`], and compression is agreed on as the [`Config`] says. To choose one of the subprotocols on offer, see
    /// [`choose_subprotocol`](sansocket::handshake::choose_subprotocol); to reject a request, just return another answer.
    ///
    /// # Errors
    /// [`UpgradeError::Request`] for what is no proper request, or of a forbidden origin; [`UpgradeError::Answer`] for a subprotocol that
    /// was not offered. Its [`to_response`](UpgradeError::to_response) is the answer.
    pub fn upgrade<B>(
        &self,
        request: &http::Request<B>,
        acceptance: &Acceptance,
    ) -> Result<(http::Response<Bytes>, Upgrade<R>), UpgradeError> {
        let upgrade = check_http_request(request, &self.config.origin)?;
        acceptance.check(request.headers())?;
        let extensions = self.config.choose_extensions(request.headers());
        let response = acceptance.to_response(&upgrade.accept, extensions.header())?.map(|()| Bytes::new());
        Ok((response, self.upgraded(acceptance, extensions)?))
    }

    /// Accepts a request that an HTTP server has received over HTTP/2 or HTTP/3, as [`upgrade`](Self::upgrade) does: an extended `CONNECT`
    /// (RFC 8441).
    ///
    /// `protocol` is `:protocol`, which HTTP servers put into the extensions of the request, as `hyper::ext::Protocol` or
    /// `h2::ext::Protocol`.
    ///
    /// # Errors
    /// As [`upgrade`](Self::upgrade), with [`UpgradeError::Connect`] for what is no proper request.
    pub fn upgrade_connect<B>(
        &self,
        request: &http::Request<B>,
        protocol: Option<&str>,
        acceptance: &Acceptance,
    ) -> Result<(http::Response<Bytes>, Upgrade<R>), UpgradeError> {
        let pseudo = PseudoHeaders::of_http_request(request, protocol);
        let asked = check_extended_connect(&pseudo, request.headers(), &self.config.origin)?;
        let extensions = self.config.choose_extensions(request.headers());
        let mut response = http::Response::new(Bytes::new());
        *response.headers_mut() = (&connect_acceptance(&asked, acceptance, extensions.header())?).try_into()?;
        Ok((response, self.upgraded(acceptance, extensions)?))
    }

    fn upgraded(&self, acceptance: &Acceptance, extensions: AgreedExtensions) -> Result<Upgrade<R>, UpgradeError> {
        Ok(Upgrade {
            extensions,
            subprotocol: acceptance.chosen_subprotocol().map(Into::into),
            config: Arc::clone(&self.config),
            seed: seed().map_err(UpgradeError::Seed)?,
            runtime: PhantomData,
        })
    }
}

impl<R: Runtime> Connector<R> {
    /// The request for a WebSocket over HTTP/2 or HTTP/3: an extended `CONNECT` (RFC 8441).
    ///
    /// It lacks `:protocol`, which is `websocket` and goes into its extensions in the type of the HTTP library. It may be sent once
    /// the server's settings have
    /// [`SETTINGS_ENABLE_CONNECT_PROTOCOL`](sansocket::handshake::SETTINGS_ENABLE_CONNECT_PROTOCOL).
    ///
    /// # Errors
    /// [`UpgradeError::Fields`] for more or longer header fields than `http::HeaderMap` can hold.
    pub fn connect_request(&self) -> Result<http::Request<()>, UpgradeError> {
        let extensions = self.options.attempt().config().offered_extensions();
        Ok(connect_request(self.options.request(), extensions.as_deref()).to_request()?)
    }

    /// The WebSocket that a server's answer to [`connect_request`](Self::connect_request) opens, over the stream of the HTTP library.
    ///
    /// # Errors
    /// [`UpgradeError::Response`] when the answer opens none.
    pub fn open_connect<B, S>(
        &self,
        response: &http::Response<B>,
        stream: S,
    ) -> Result<WebSocket<R::Transport, R>, UpgradeError>
    where
        R: Wrap<S>,
    {
        let status = response.status().as_u16();
        let attempt = self.options.attempt();
        let (subprotocols, config) = (attempt.request().subprotocols(), attempt.config());
        let offered = config.offered_extensions();
        let accepted = check_connect_response(status, response.headers(), subprotocols, offered.as_deref())?;
        let extensions = config.check_extensions(&accepted)?;
        let seed = seed().map_err(UpgradeError::Seed)?;
        let connection = Connection::open(Role::Client, Arc::clone(config), seed, R::now());
        let connection = connection.with_subprotocol(accepted.subprotocol).with_extensions(extensions);
        Ok(WebSocket::new(connection, R::wrap(stream), RecvBuf::new()))
    }
}

/// A request that is accepted: becomes a [`WebSocket`] once the HTTP server hands over the stream.
pub struct Upgrade<R> {
    subprotocol: Option<Box<str>>,
    extensions: AgreedExtensions,
    config: Arc<Config>,
    seed: [u8; 32],
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Upgrade<R> {
    /// The WebSocket, over the stream that the HTTP server hands over when the answer has been written.
    ///
    /// The stream has to begin with the bytes that the server may have read behind the request, as hyper's `Upgraded` does.
    pub fn open<S>(self, stream: S) -> WebSocket<R::Transport, R>
    where
        R: Wrap<S>,
    {
        let connection = Connection::open(Role::Server, self.config, self.seed, R::now());
        let connection = connection.with_subprotocol(self.subprotocol.as_deref()).with_extensions(self.extensions);
        WebSocket::new(connection, R::wrap(stream), RecvBuf::new())
    }
}

impl<R> fmt::Debug for Upgrade<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("subprotocol", &self.subprotocol).finish_non_exhaustive()
    }
}

/// Why a request over an HTTP library does not become a WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// It does not ask for a WebSocket in due form, or its origin is forbidden.
    #[error(transparent)]
    Request(#[from] RequestFault),
    /// The same of a request over HTTP/2 or HTTP/3.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// The server's answer to ours opens none.
    #[error(transparent)]
    Response(#[from] ResponseFault),
    /// The acceptance does not fit the request. 500.
    #[error("the answer does not fit the request: {0}")]
    Answer(#[from] AnswerError),
    /// There are more or longer header fields than `http::HeaderMap` can hold. 500.
    #[error("the header fields are too many or too long: {0}")]
    Fields(#[from] http::Error),
    /// The system gave no random numbers. 500.
    #[error("no randomness from the operating system: {0}")]
    Seed(io::Error),
}

impl UpgradeError {
    /// The answer to the request: 400, 403, 405, 426, 501 or 505, with a line of text that says what is wrong with it; or, without
    /// one, 500 when the fault is on this side, and 502 when it is on that of a server behind this one.
    pub fn to_response(&self) -> http::Response<Bytes> {
        match self {
            Self::Request(fault) => fault.to_response(),
            Self::Connect(fault) => fault.to_response(),
            Self::Response(_) => bare(http::StatusCode::BAD_GATEWAY),
            Self::Answer(_) | Self::Fields(_) | Self::Seed(_) => bare(http::StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

fn bare(status: http::StatusCode) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
