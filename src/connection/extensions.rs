//! Which extensions hold on a connection, whoever writes its handshake. RFC 6455 section 9.1.

use super::{Config, Connection};
use crate::handshake::{Accepted, HeaderMap, ResponseFault};

/// The extensions that both ends have agreed on, for [`Connection::with_extensions`]. By default none.
///
/// For whoever makes the handshake himself. A client asks for [`Config::offered_extensions`], and [`Config::check_extensions`] judges the answer; a
/// server makes it by [`Config::choose_extensions`]:
///
/// ```
/// use sansocket::handshake::{Acceptance, OriginPolicy, check_extended_connect, check_connect_response, connect_acceptance, connect_request};
/// use sansocket::{ClientRequest, Config, Connection, Role};
/// # let (now, seed) = (std::time::Instant::now(), [0; 32]);
///
/// let config = Config::default();
/// let request = ClientRequest::new("wss://example.com/chat")?;
/// let offered = config.offered_extensions();
/// let connect = connect_request(&request, offered.as_deref());
///
/// let pseudo = connect.pseudo_headers();
/// let asked = check_extended_connect(&pseudo, &connect.headers, &OriginPolicy::default())?;
/// let chosen = config.choose_extensions(&connect.headers);
/// let answer = connect_acceptance(&asked, &Acceptance::new(), chosen.header())?;
/// let server = Connection::open(Role::Server, config.clone(), seed, now).with_extensions(chosen);
///
/// let accepted = check_connect_response(200, &answer, request.subprotocols(), offered.as_deref())?;
/// let agreed = config.check_extensions(&accepted)?;
/// let client = Connection::open(Role::Client, config, seed, now).with_extensions(agreed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgreedExtensions {
    /// How a server's answer says so.
    header: Option<String>,
    #[cfg(feature = "deflate")]
    deflate: Option<crate::deflate::DeflateParams>,
}

impl AgreedExtensions {
    /// The value of `Sec-WebSocket-Extensions` in a server's answer; `None` when the field is left out, and for a client.
    pub fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }
}

#[cfg(all(feature = "deflate", any(test, fuzzing)))]
impl AgreedExtensions {
    pub(super) fn deflate(&self) -> Option<crate::deflate::DeflateParams> {
        self.deflate
    }
}

impl Config {
    /// What a client offers: the value of `Sec-WebSocket-Extensions` in its request, `None` to leave the field out.
    pub fn offered_extensions(&self) -> Option<String> {
        #[cfg(feature = "deflate")]
        return self.deflate.as_ref().map(crate::deflate::DeflateConfig::offer);
        #[cfg(not(feature = "deflate"))]
        None
    }

    /// What a server takes of the offers in the header fields of a request.
    pub fn choose_extensions(&self, request: &(impl HeaderMap + ?Sized)) -> AgreedExtensions {
        #[cfg(feature = "deflate")]
        if let Some(answer) = self.deflate.as_ref().and_then(|config| config.answer(request)) {
            return AgreedExtensions { header: Some(answer.header), deflate: Some(answer.params) };
        }
        #[cfg(not(feature = "deflate"))]
        let _ = request;
        AgreedExtensions::default()
    }

    /// A client's check of what a server chose of its [offer](Self::offered_extensions).
    ///
    /// # Errors
    /// [`ResponseFault::ExtensionParams`] for parameters that do not fit the offer.
    pub fn check_extensions(&self, accepted: &Accepted<'_>) -> Result<AgreedExtensions, ResponseFault> {
        #[cfg(feature = "deflate")]
        if let Some(config) = &self.deflate {
            let params = config.check_answer(&accepted.extensions).map_err(|_| ResponseFault::ExtensionParams)?;
            return Ok(AgreedExtensions { header: None, deflate: params });
        }
        #[cfg(not(feature = "deflate"))]
        let _ = accepted;
        Ok(AgreedExtensions::default())
    }
}

impl Connection {
    /// Goes by these extensions, for a connection whose handshake somebody else made.
    #[must_use]
    pub fn with_extensions(mut self, agreed: AgreedExtensions) -> Self {
        self.agree_on(agreed);
        self
    }

    pub(super) fn agree_on(&mut self, agreed: AgreedExtensions) {
        #[cfg(feature = "deflate")]
        self.agree_on_deflate(agreed.deflate);
        #[cfg(not(feature = "deflate"))]
        drop(agreed);
    }
}
