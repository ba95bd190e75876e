//! Who may compress how: offers, answers, and what follows from them. RFC 7692 section 7.1.
//!
//! A client lists offers, in the order of its preference; the server answers one of them, or none. Both sides then know four parameters, two for
//! each direction: whether each message is compressed on its own, and how far back a match may reach.

use std::fmt;

use super::DeflateConfig;
use super::config::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use crate::handshake::{Extension, Extensions, HeaderMap};

/// What both ends agreed on; the default is what holds for a parameter that is left out. RFC 7692 section 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeflateParams {
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// The window that the server compresses with, 8 to 15 bits.
    pub server_max_window_bits: u8,
    /// The window that the client compresses with, 8 to 15 bits.
    pub client_max_window_bits: u8,
}

/// A server's answer to the offers of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeflateAnswer {
    /// What holds from now on.
    pub params: DeflateParams,
    /// How the answer says so: the value of `Sec-WebSocket-Extensions`.
    pub header: String,
}

impl DeflateConfig {
    /// The offer of a client: the value of `Sec-WebSocket-Extensions`. RFC 7692 section 7.1.
    ///
    /// When the server's window is to be smaller than 15 bits, a second offer without that follows, for servers that cannot make it so.
    pub fn offer(&self) -> String {
        let mut params = String::new();
        if self.no_context_takeover {
            params += "; client_no_context_takeover";
        }
        if self.peer_no_context_takeover {
            params += "; server_no_context_takeover";
        }
        params += match self.own_window() {
            WINDOW_BITS_MAX => "; client_max_window_bits".to_owned(),
            bits => format!("; client_max_window_bits={bits}"),
        }
        .as_str();
        let any_window = format!("{NAME}{params}");
        match self.peer_window() {
            WINDOW_BITS_MAX => any_window,
            bits => format!("{any_window}; server_max_window_bits={bits}, {any_window}"),
        }
    }

    /// A server's answer to the offers in the header fields of a request; `None` when there is none that it can take.
    ///
    /// Of several offers it takes the first under which the client can be told to keep to [`peer_window_bits`](Self::peer_window_bits), or
    /// else the first. One with a parameter that is unknown, repeated or out of range is passed over: RFC 7692 section 7.1.
    pub fn answer(&self, headers: &(impl HeaderMap + ?Sized)) -> Option<DeflateAnswer> {
        let offers = Extensions::new(headers.values("Sec-WebSocket-Extensions")).flatten();
        let mut fallback = None;
        for offer in offers.filter(|extension| extension.name() == NAME).filter_map(Params::of_offer) {
            let answer = self.answer_to(&offer);
            if answer.params.client_max_window_bits <= self.peer_window() {
                return Some(answer);
            }
            fallback.get_or_insert(answer);
        }
        fallback
    }

    fn answer_to(&self, offer: &Params) -> DeflateAnswer {
        let client_window_bits = match offer.client_max_window_bits {
            Some(bits) => bits.unwrap_or(WINDOW_BITS_MAX).min(self.peer_window()),
            None => WINDOW_BITS_MAX, // It cannot be told.
        };
        let params = DeflateParams {
            server_no_context_takeover: self.no_context_takeover || offer.server_no_context_takeover,
            client_no_context_takeover: self.peer_no_context_takeover || offer.client_no_context_takeover,
            server_max_window_bits: self.own_window().min(offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX)),
            client_max_window_bits: client_window_bits,
        };
        let mut header = params.to_string();
        if offer.server_max_window_bits.is_some() && params.server_max_window_bits == WINDOW_BITS_MAX {
            // Who asks for a limit must be told one.
            header += "; server_max_window_bits=15";
        }
        DeflateAnswer { params, header }
    }

    /// A client's check of the extensions in the answer to its [`offer`](Self::offer); `None` when this one was declined.
    ///
    /// # Errors
    /// [`InvalidParams`]: the client must fail the connection. RFC 7692 section 7.1.
    pub fn check_answer(&self, accepted: &[Extension<'_>]) -> Result<Option<DeflateParams>, InvalidParams> {
        let mut answers = accepted.iter().filter(|extension| extension.name() == NAME);
        let Some(answer) = answers.next() else {
            return Ok(None);
        };
        if answers.next().is_some() {
            return Err(InvalidParams);
        }
        let answer = Params::of(*answer)?;
        let offered = self.own_window();
        let client_max_window_bits = match answer.client_max_window_bits {
            // More than was offered binds the client to nothing: a server may ignore the value. RFC 7692 section 7.1.2.2.
            Some(Some(bits)) => bits.min(offered),
            Some(None) => return Err(InvalidParams),
            None => offered,
        };
        // More than was asked for, or nothing, answers the second offer, which asks for nothing: a server may name its window there, too.
        // RFC 7692 section 7.1.2.1.
        let server_max_window_bits = answer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        if self.peer_no_context_takeover && !answer.server_no_context_takeover {
            return Err(InvalidParams);
        }
        Ok(Some(DeflateParams {
            server_no_context_takeover: answer.server_no_context_takeover,
            // A client that wants it does it, whether the server says so or not.
            client_no_context_takeover: self.no_context_takeover || answer.client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        }))
    }
}

impl DeflateParams {
    /// The same with windows that there are.
    pub(crate) fn within_range(self) -> Self {
        let within = |bits: u8| bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        Self {
            server_max_window_bits: within(self.server_max_window_bits),
            client_max_window_bits: within(self.client_max_window_bits),
            ..self
        }
    }
}

impl Default for DeflateParams {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: WINDOW_BITS_MAX,
            client_max_window_bits: WINDOW_BITS_MAX,
        }
    }
}

/// As an answer says it.
impl fmt::Display for DeflateParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.server_max_window_bits < WINDOW_BITS_MAX {
            write!(f, "; server_max_window_bits={}", self.server_max_window_bits)?;
        }
        if self.client_max_window_bits < WINDOW_BITS_MAX {
            write!(f, "; client_max_window_bits={}", self.client_max_window_bits)?;
        }
        Ok(())
    }
}

/// A server's answer that does not fit the offer, or has a parameter that is unknown, repeated or out of range. RFC 7692 section 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's parameters for permessage-deflate do not fit the offer")]
pub struct InvalidParams;

/// The parameters that one element of the list names.
#[derive(Default)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)` without a value, which only an offer may leave out.
    client_max_window_bits: Option<Option<u8>>,
}

impl Params {
    fn of(extension: Extension<'_>) -> Result<Self, InvalidParams> {
        let mut params = Self::default();
        for (name, value) in extension.params() {
            let is_repeated = match (name, value.as_deref()) {
                ("server_no_context_takeover", None) => std::mem::replace(&mut params.server_no_context_takeover, true),
                ("client_no_context_takeover", None) => std::mem::replace(&mut params.client_no_context_takeover, true),
                ("server_max_window_bits", Some(value)) => {
                    params.server_max_window_bits.replace(window_bits(value)?).is_some()
                }
                ("client_max_window_bits", value) => {
                    params.client_max_window_bits.replace(value.map(window_bits).transpose()?).is_some()
                }
                _ => return Err(InvalidParams),
            };
            if is_repeated {
                return Err(InvalidParams);
            }
        }
        Ok(params)
    }

    fn of_offer(extension: Extension<'_>) -> Option<Self> {
        Self::of(extension).ok()
    }
}

/// "A decimal integer value without leading zeroes between 8 to 15". RFC 7692 section 7.1.2.1.
fn window_bits(value: &str) -> Result<u8, InvalidParams> {
    let bits = value.parse().ok().filter(|bits| (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(bits));
    bits.filter(|bits: &u8| bits.to_string() == value).ok_or(InvalidParams)
}

const NAME: &str = "permessage-deflate";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::parse_extensions;

    fn config(window_bits: u8, peer_window_bits: u8) -> DeflateConfig {
        DeflateConfig { window_bits, peer_window_bits, ..DeflateConfig::default() }
    }

    fn answer(config: &DeflateConfig, offers: &[&str]) -> Option<String> {
        let headers: Vec<_> = offers.iter().map(|offer| ("Sec-WebSocket-Extensions", *offer)).collect();
        config.answer(&headers).map(|answer| answer.header)
    }

    fn check(config: &DeflateConfig, answer: &str) -> Result<Option<DeflateParams>, InvalidParams> {
        config.check_answer(&parse_extensions([answer.as_bytes()]).unwrap())
    }

    #[test]
    fn an_offer_says_what_is_wanted() {
        let plain = config(15, 15);
        assert_eq!(plain.offer(), "permessage-deflate; client_max_window_bits");
        assert_eq!(
            DeflateConfig::default().offer(),
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=12, \
             permessage-deflate; client_max_window_bits=12"
        );
        let each_on_its_own =
            DeflateConfig { no_context_takeover: true, peer_no_context_takeover: true, ..config(15, 15) };
        assert_eq!(
            each_on_its_own.offer(),
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits"
        );
        // Out of range counts as the nearest in it.
        assert_eq!(config(200, 0).offer(), config(15, 8).offer());
    }

    /// RFC 7692 sections 7.1.1 and 7.1.2.
    #[test]
    fn a_server_answers_what_is_offered() {
        let table: &[(u8, u8, &str, Option<&str>)] = &[
            (15, 15, "permessage-deflate", Some("permessage-deflate")),
            (15, 15, "foo, permessage-deflate, bar", Some("permessage-deflate")),
            (15, 15, "x-webkit-deflate-frame", None),
            (15, 15, "Permessage-Deflate", None),
            // A client that can be told is told; one that cannot is not.
            (
                15,
                12,
                "permessage-deflate; client_max_window_bits",
                Some("permessage-deflate; client_max_window_bits=12"),
            ),
            (
                15,
                12,
                "permessage-deflate; client_max_window_bits=10",
                Some("permessage-deflate; client_max_window_bits=10"),
            ),
            (
                15,
                12,
                "permessage-deflate; client_max_window_bits=8",
                Some("permessage-deflate; client_max_window_bits=8"),
            ),
            (15, 12, "permessage-deflate", Some("permessage-deflate")),
            (15, 15, "permessage-deflate; client_max_window_bits=15", Some("permessage-deflate")),
            // The server's own window, and what is asked of it.
            (12, 15, "permessage-deflate", Some("permessage-deflate; server_max_window_bits=12")),
            (
                12,
                15,
                "permessage-deflate; server_max_window_bits=10",
                Some("permessage-deflate; server_max_window_bits=10"),
            ),
            (
                12,
                15,
                "permessage-deflate; server_max_window_bits=8",
                Some("permessage-deflate; server_max_window_bits=8"),
            ),
            (
                12,
                15,
                "permessage-deflate; server_max_window_bits=15",
                Some("permessage-deflate; server_max_window_bits=12"),
            ),
            (
                15,
                15,
                "permessage-deflate; server_max_window_bits=15",
                Some("permessage-deflate; server_max_window_bits=15"),
            ),
            (
                15,
                15,
                "permessage-deflate; server_max_window_bits=\"9\"",
                Some("permessage-deflate; server_max_window_bits=9"),
            ),
            (
                15,
                15,
                "permessage-deflate; server_no_context_takeover",
                Some("permessage-deflate; server_no_context_takeover"),
            ),
            (
                15,
                15,
                "permessage-deflate; client_no_context_takeover",
                Some("permessage-deflate; client_no_context_takeover"),
            ),
            // RFC 7692 section 7.1: "MUST decline an extension negotiation offer ... with an invalid value".
            (15, 15, "permessage-deflate; server_max_window_bits", None),
            (15, 15, "permessage-deflate; server_max_window_bits=7", None),
            (15, 15, "permessage-deflate; server_max_window_bits=16", None),
            (15, 15, "permessage-deflate; server_max_window_bits=010", None),
            (15, 15, "permessage-deflate; server_max_window_bits=+10", None),
            (15, 15, "permessage-deflate; client_max_window_bits=7", None),
            (15, 15, "permessage-deflate; client_max_window_bits=x", None),
            (15, 15, "permessage-deflate; server_no_context_takeover=1", None),
            (15, 15, "permessage-deflate; client_no_context_takeover=true", None),
            (15, 15, "permessage-deflate; unknown", None),
            (15, 15, "permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            (15, 15, "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9", None),
            (15, 15, "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
            (15, 15, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            (15, 15, "permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
            // Of several offers the first that suits, or the first that is valid.
            (
                15,
                15,
                "permessage-deflate; nonsense, permessage-deflate; server_max_window_bits=11",
                Some("permessage-deflate; server_max_window_bits=11"),
            ),
            (
                15,
                12,
                "permessage-deflate, permessage-deflate; client_max_window_bits",
                Some("permessage-deflate; client_max_window_bits=12"),
            ),
            (
                15,
                12,
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                Some("permessage-deflate; server_max_window_bits=10"),
            ),
        ];
        for (own, peer, offers, expected) in table {
            assert_eq!(answer(&config(*own, *peer), &[offers]).as_deref(), *expected, "{offers}");
        }
        // The offers of several lines are one list.
        assert_eq!(
            answer(&config(15, 12), &["permessage-deflate", "permessage-deflate; client_max_window_bits"]).as_deref(),
            Some("permessage-deflate; client_max_window_bits=12")
        );
        assert_eq!(answer(&DeflateConfig::default(), &[]), None);
        let each_on_its_own =
            DeflateConfig { no_context_takeover: true, peer_no_context_takeover: true, ..config(15, 15) };
        assert_eq!(
            answer(&each_on_its_own, &["permessage-deflate"]).as_deref(),
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
        );
    }

    /// CVE-2026-2229: a value out of range was taken.
    #[test]
    fn window_bits_from_minus_1_to_300_are_taken_from_8_to_15_only() {
        for bits in -1..=300 {
            let is_valid = (8..=15).contains(&bits);
            for value in [bits.to_string(), format!("\"{bits}\"")] {
                for name in ["client_max_window_bits", "server_max_window_bits"] {
                    let line = format!("permessage-deflate; {name}={value}");
                    assert_eq!(answer(&config(15, 15), &[&line]).is_some(), is_valid, "{line}");
                    assert_eq!(check(&config(15, 15), &line).is_ok(), is_valid, "{line}");
                }
            }
            for value in [format!("0{bits}"), format!("{bits}00"), format!("\"\\{bits}\"x")] {
                let line = format!("permessage-deflate; server_max_window_bits={value}");
                assert_eq!(answer(&config(15, 15), &[&line]), None, "{line}");
            }
        }
    }

    #[test]
    fn a_client_takes_an_answer_that_fits_its_offer_and_no_other() {
        let params = DeflateParams::default();
        let each_on_its_own = DeflateConfig { peer_no_context_takeover: true, ..config(15, 15) };
        type Verdict = Result<Option<DeflateParams>, InvalidParams>;
        let table: &[(&DeflateConfig, &str, Verdict)] = &[
            (&config(15, 15), "foo", Ok(None)),
            (&config(15, 15), "permessage-deflate", Ok(Some(params))),
            (&config(12, 15), "permessage-deflate", Ok(Some(DeflateParams { client_max_window_bits: 12, ..params }))),
            (
                &config(12, 15),
                "permessage-deflate; client_max_window_bits=8",
                Ok(Some(DeflateParams { client_max_window_bits: 8, ..params })),
            ),
            (
                &config(12, 15),
                "permessage-deflate; client_max_window_bits=15",
                Ok(Some(DeflateParams { client_max_window_bits: 12, ..params })),
            ),
            (&config(12, 15), "permessage-deflate; client_max_window_bits", Err(InvalidParams)),
            (
                &config(15, 12),
                "permessage-deflate; server_max_window_bits=9",
                Ok(Some(DeflateParams { server_max_window_bits: 9, ..params })),
            ),
            (
                &config(15, 12),
                "permessage-deflate; server_max_window_bits=13",
                Ok(Some(DeflateParams { server_max_window_bits: 13, ..params })),
            ),
            (&config(15, 12), "permessage-deflate; server_max_window_bits=15", Ok(Some(params))),
            (&config(15, 12), "permessage-deflate; server_max_window_bits", Err(InvalidParams)),
            (&config(15, 12), "permessage-deflate", Ok(Some(params))),
            (
                &config(15, 15),
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                Ok(Some(DeflateParams {
                    server_no_context_takeover: true,
                    client_no_context_takeover: true,
                    ..params
                })),
            ),
            (&each_on_its_own, "permessage-deflate", Err(InvalidParams)),
            (&config(15, 15), "permessage-deflate; unknown=1", Err(InvalidParams)),
            (&config(15, 15), "permessage-deflate, permessage-deflate", Err(InvalidParams)),
            (&config(15, 15), "permessage-deflate; server_no_context_takeover=x", Err(InvalidParams)),
            (
                &config(15, 15),
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                Err(InvalidParams),
            ),
        ];
        for (config, line, expected) in table {
            assert_eq!(check(config, line), *expected, "{line}");
        }
    }

    #[test]
    fn any_two_ends_agree_on_the_same() {
        let flags = [false, true];
        for own in 8..=15 {
            for peer in 8..=15 {
                for other in [8, 9, 12, 15] {
                    for no_context_takeover in flags {
                        for peer_no_context_takeover in flags {
                            let client =
                                DeflateConfig { no_context_takeover, peer_no_context_takeover, ..config(own, peer) };
                            let server = config(other, own);
                            let offer = client.offer();
                            let answer = server.answer(&[("Sec-WebSocket-Extensions", &offer)]).expect("it can");
                            let agreed = check(&client, &answer.header).expect("it fits").expect("it was taken");
                            assert_eq!(agreed, answer.params, "{offer} / {}", answer.header);
                        }
                    }
                }
            }
        }
    }
}
