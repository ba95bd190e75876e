//! The exchange with a SOCKS5 proxy. RFC 1928, RFC 1929.
//!
//! ```text
//! Method ── no authentication ──▶ Reply ── 0 ──▶ tunnel
//!    └── user and password ──▶ Login ─┘
//! ```
//!
//! Each answer is judged at the first byte that decides, and consumed to its last one exactly.

use super::credentials::LOGIN_VERSION;
use super::target::{DOMAIN_NAME, IPV4, IPV6};
use super::{Credentials, PreludeError, ProxyError, SocksReply, Target};
use crate::buffer::RecvBuf;

/// The client's side, once the greeting is written.
pub(super) struct Socks5 {
    phase: Phase,
    login: Option<Vec<u8>>,
    request: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Waits for the choice of a method of authentication.
    Method,
    /// Waits for the answer to user and password.
    Login,
    /// Waits for the answer to the request.
    Reply,
}

/// How far an answer is.
enum Answer {
    /// More bytes are needed.
    Incomplete,
    /// It has so many bytes; then comes the next phase, or the tunnel.
    Complete(usize, Option<Phase>),
}

impl Socks5 {
    /// With the greeting to be written.
    pub(super) fn new(target: &Target, credentials: Option<&Credentials>) -> Result<(Self, Vec<u8>), PreludeError> {
        let login = credentials.map(Credentials::socks_login).transpose()?;
        let request = [&[VERSION, CONNECT, RESERVED][..], &target.socks_address()?].concat();
        let greeting = match login {
            None => vec![VERSION, 1, NO_AUTHENTICATION],
            Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        };
        Ok((Self { phase: Phase::Method, login, request }, greeting))
    }

    /// Reads on, and appends what is to be written next.
    pub(super) fn step(&mut self, input: &mut RecvBuf, outgoing: &mut Vec<u8>) -> Option<Result<(), ProxyError>> {
        loop {
            let answer = match self.phase {
                Phase::Method => self.method(input.unread()),
                Phase::Login => login(input.unread()),
                Phase::Reply => reply(input.unread()),
            };
            match answer {
                Err(error) => return Some(Err(error)),
                Ok(Answer::Incomplete) => return None,
                Ok(Answer::Complete(len, next)) => {
                    input.consume_unread(len);
                    let Some(next) = next else { return Some(Ok(())) };
                    self.phase = next;
                    outgoing.extend_from_slice(match next {
                        Phase::Login => self.login.as_deref().unwrap_or_default(),
                        Phase::Method | Phase::Reply => &self.request,
                    });
                }
            }
        }
    }

    /// RFC 1928 section 3.
    fn method(&self, received: &[u8]) -> Result<Answer, ProxyError> {
        match *received {
            [] | [VERSION] => Ok(Answer::Incomplete),
            [VERSION, NO_AUTHENTICATION, ..] => Ok(Answer::Complete(2, Some(Phase::Reply))),
            [VERSION, USER_AND_PASSWORD, ..] if self.login.is_some() => Ok(Answer::Complete(2, Some(Phase::Login))),
            [VERSION, NO_ACCEPTABLE_METHOD, ..] => Err(ProxyError::NoAcceptableMethod),
            [VERSION, method, ..] => Err(ProxyError::MethodNotOffered { method }),
            [version, ..] => Err(ProxyError::NotSocks5 { version }),
        }
    }
}

/// RFC 1929 section 2.
fn login(received: &[u8]) -> Result<Answer, ProxyError> {
    match *received {
        [] | [LOGIN_VERSION] => Ok(Answer::Incomplete),
        [LOGIN_VERSION, SUCCEEDED, ..] => Ok(Answer::Complete(2, Some(Phase::Reply))),
        [LOGIN_VERSION, status, ..] => Err(ProxyError::LoginRefused { status }),
        [version, ..] => Err(ProxyError::LoginVersion { version }),
    }
}

/// RFC 1928 section 6. Behind a failure nothing is of use: some proxies send less than the whole answer then.
fn reply(received: &[u8]) -> Result<Answer, ProxyError> {
    let address_len = match *received {
        [] | [VERSION] | [VERSION, SUCCEEDED] | [VERSION, SUCCEEDED, _] => return Ok(Answer::Incomplete),
        [VERSION, SUCCEEDED, _, IPV4, ..] => 4,
        [VERSION, SUCCEEDED, _, IPV6, ..] => 16,
        [VERSION, SUCCEEDED, _, DOMAIN_NAME] => return Ok(Answer::Incomplete),
        [VERSION, SUCCEEDED, _, DOMAIN_NAME, len, ..] => 1 + usize::from(len),
        [VERSION, SUCCEEDED, _, address_type, ..] => return Err(ProxyError::AddressTypeUnknown { address_type }),
        [VERSION, code, ..] => return Err(ProxyError::Socks(SocksReply::of(code))),
        [version, ..] => return Err(ProxyError::NotSocks5 { version }),
    };
    let len = address_len.saturating_add(4 + 2); // behind four bytes, and before the port
    Ok(if received.len() < len { Answer::Incomplete } else { Answer::Complete(len, None) })
}

/// RFC 1928 sections 3 to 6.
const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const SUCCEEDED: u8 = 0;

#[cfg(test)]
mod tests;
