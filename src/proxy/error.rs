//! Whose fault it was: the caller's, or the proxy's.

use std::time::Duration;

use thiserror::Error;

use crate::handshake::{FieldError, Refusal, ResponseFault};

/// Why the caller's orders cannot be put to a proxy. Nothing has been sent.
///
/// It never shows a name or a password.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PreludeError {
    /// The host to connect to is neither a name nor an address.
    #[error("the host to connect to is neither a name nor an address")]
    HostInvalid,
    /// The port to connect to is 0.
    #[error("the port to connect to must be 1 to 65535")]
    PortInvalid,
    /// The host has more bytes than a SOCKS5 request can hold (RFC 1928 section 5).
    #[error("host of {len} bytes, at most 255 fit into a SOCKS5 request")]
    HostTooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// The user or the password holds a control byte (RFC 7617 section 2).
    #[error("the user and the password for a proxy must not hold control bytes")]
    CredentialsInvalid,
    /// The user holds a colon, which ends it for an HTTP proxy (RFC 7617 section 2).
    #[error("the user for an HTTP proxy must not hold a colon")]
    UserHasColon,
    /// The user has more bytes than SOCKS5 allows (RFC 1929 section 2).
    #[error("user of {len} bytes, at most 255 allowed by SOCKS5")]
    UserTooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// The password has more bytes than SOCKS5 allows (RFC 1929 section 2).
    #[error("password of {len} bytes, at most 255 allowed by SOCKS5")]
    PasswordTooLong {
        /// Its length, in bytes.
        len: usize,
    },
    /// A header field that would break the request to an HTTP proxy, or contradict it.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Why there is no tunnel: what the proxy said, or that it did not.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// An HTTP proxy answered with another status than 2xx (RFC 9110 section 9.3.6): 407 when it wants to know who asks.
    #[error("the proxy refused with status {}", .0.status)]
    Refused(Box<Refusal>),
    /// An HTTP proxy's answer is malformed, or longer than allowed.
    #[error("bad response of the proxy: {0}")]
    Response(ResponseFault),
    /// A SOCKS5 proxy began with another version than 5 (RFC 1928 section 3): often it is a proxy of another kind.
    #[error("the proxy does not speak SOCKS5: its answer begins with {version:#04x}")]
    NotSocks5 {
        /// The first byte of its answer.
        version: u8,
    },
    /// A SOCKS5 proxy takes none of the methods of authentication that were offered (RFC 1928 section 3). Without credentials it
    /// usually means that some are needed.
    #[error("the proxy accepts none of the offered methods of authentication")]
    NoAcceptableMethod,
    /// A SOCKS5 proxy chose a method of authentication that was not offered (RFC 1928 section 3).
    #[error("the proxy chose authentication method {method:#04x}, which was not offered")]
    MethodNotOffered {
        /// The method.
        method: u8,
    },
    /// A SOCKS5 proxy answered the login in another version than 1 (RFC 1929 section 2).
    #[error("the proxy answered the login in version {version:#04x} in place of 1")]
    LoginVersion {
        /// The version.
        version: u8,
    },
    /// A SOCKS5 proxy did not accept the user and the password (RFC 1929 section 2).
    #[error("the proxy refused the user or the password, status {status:#04x}")]
    LoginRefused {
        /// The status, which is not 0.
        status: u8,
    },
    /// A SOCKS5 proxy did not connect (RFC 1928 section 6).
    #[error("the proxy did not connect: {0}")]
    Socks(SocksReply),
    /// A SOCKS5 proxy answered with an address of an unknown type, so that the end of its answer is unknown (RFC 1928 section 6).
    #[error("the proxy answered with an address of unknown type {address_type:#04x}")]
    AddressTypeUnknown {
        /// The type.
        address_type: u8,
    },
    /// The proxy ended the transport before it answered.
    #[error("the proxy ended the transport before it answered")]
    EndOfStream,
    /// The transport failed.
    #[error("the transport to the proxy failed")]
    TransportFailed,
    /// The deadline passed.
    #[error("no tunnel through the proxy within {timeout:?}")]
    TimedOut {
        /// The time that was allowed.
        timeout: Duration,
    },
}

/// Why a SOCKS5 proxy did not connect. RFC 1928 section 6.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Error)]
#[non_exhaustive]
pub enum SocksReply {
    /// 1.
    #[error("general failure")]
    GeneralFailure,
    /// 2.
    #[error("not allowed by its ruleset")]
    NotAllowed,
    /// 3.
    #[error("network unreachable")]
    NetworkUnreachable,
    /// 4; also when it cannot resolve the name.
    #[error("host unreachable")]
    HostUnreachable,
    /// 5.
    #[error("connection refused")]
    ConnectionRefused,
    /// 6.
    #[error("time to live expired")]
    TtlExpired,
    /// 7.
    #[error("command not supported")]
    CommandNotSupported,
    /// 8: most often IPv6, or names.
    #[error("address type not supported")]
    AddressTypeNotSupported,
    /// A code without a registered meaning.
    #[error("reply code {0:#04x}")]
    Other(u8),
}

impl SocksReply {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::GeneralFailure => 1,
            Self::NotAllowed => 2,
            Self::NetworkUnreachable => 3,
            Self::HostUnreachable => 4,
            Self::ConnectionRefused => 5,
            Self::TtlExpired => 6,
            Self::CommandNotSupported => 7,
            Self::AddressTypeNotSupported => 8,
            Self::Other(code) => code,
        }
    }

    /// The meaning of a code other than 0, which is success.
    pub(super) fn of(code: u8) -> Self {
        match code {
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            _ => Self::Other(code),
        }
    }
}
