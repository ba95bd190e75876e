//! WebSockets from the upgrade of an HTTP server (feature `http`).

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use sansocket::handshake::{
    AnswerError, ConnectFault, PseudoHeaders, RequestFault, check_extended_connect, check_http_request,
    connect_acceptance,
};
use sansocket::{Acceptance, Bytes, Config, Connection, RecvBuf, Role};

use sansocket_common::seed;

use crate::{Acceptor, Runtime, WebSocket, Wrap};

impl<R: Runtime> Acceptor<R> {
    /// Accepts a request that an HTTP server has received, over HTTP/1.1: the answer to return, and what becomes the WebSocket.
    ///
    /// Origins are judged by [`Config::origin`]. To choose one of the subprotocols on offer, see
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
        let response = acceptance.to_response(&upgrade.accept, None)?.map(|()| Bytes::new());
        Ok((response, self.upgraded(acceptance)?))
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
        let mut response = http::Response::new(Bytes::new());
        *response.headers_mut() = (&connect_acceptance(&asked, acceptance, None)?).try_into()?;
        Ok((response, self.upgraded(acceptance)?))
    }

    fn upgraded(&self, acceptance: &Acceptance) -> Result<Upgrade<R>, UpgradeError> {
        Ok(Upgrade {
            subprotocol: acceptance.chosen_subprotocol().map(Into::into),
            config: Arc::clone(&self.config),
            seed: seed().map_err(UpgradeError::Seed)?,
            runtime: PhantomData,
        })
    }
}

/// A request that is accepted: becomes a [`WebSocket`] once the HTTP server hands over the stream.
pub struct Upgrade<R> {
    subprotocol: Option<Box<str>>,
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
        let connection = connection.with_subprotocol(self.subprotocol.as_deref());
        WebSocket::new(connection, R::wrap(stream), RecvBuf::new())
    }
}

impl<R> fmt::Debug for Upgrade<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("subprotocol", &self.subprotocol).finish_non_exhaustive()
    }
}

/// Why a request that an HTTP server has received does not become a WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// It does not ask for a WebSocket in due form, or its origin is forbidden.
    #[error(transparent)]
    Request(#[from] RequestFault),
    /// The same of a request over HTTP/2 or HTTP/3.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// The acceptance does not fit the request. 500.
    #[error("the answer does not fit the request: {0}")]
    Answer(#[from] AnswerError),
    /// The acceptance has more or longer header fields than `http::HeaderMap` can hold. 500.
    #[error("the answer cannot be made: {0}")]
    Fields(#[from] http::Error),
    /// The system gave no random numbers. 500.
    #[error("no randomness from the operating system: {0}")]
    Seed(io::Error),
}

impl UpgradeError {
    /// The answer to the request: 400, 403, 405, 426, 501 or 505, with a line of text that says what is wrong with it; or 500, without one,
    /// when the fault is on this side.
    pub fn to_response(&self) -> http::Response<Bytes> {
        match self {
            Self::Request(fault) => fault.to_response(),
            Self::Connect(fault) => fault.to_response(),
            Self::Answer(_) | Self::Fields(_) | Self::Seed(_) => {
                let mut response = http::Response::new(Bytes::new());
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }
}
