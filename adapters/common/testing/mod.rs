//! The ways to a server, for the tests of every adapter: TLS with certificates made on the spot, proxies, redirects.
//!
//! Each adapter brings a function that connects, sends a message and returns what comes back.

pub(crate) mod certificates;
mod servers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::{CertificateError, ClientConfig};
use sansocket::client::{Cause, ConnectFailureKind, End};
use sansocket::handshake::RedirectError;
use sansocket::proxy::ProxyError;
use sansocket::{ClientOptions, Message};
use sansocket_common::{ConnectError, Tls, TlsError};

use certificates::{Authority, Validity};
use servers::{Behaviour, Proxy, Server};

/// Connects, sends the message, receives one, and closes.
pub(crate) type Connect = dyn Fn(ClientOptions, Tls, Message) -> Result<Message, ConnectError>;

/// Everything below.
pub(crate) fn check_all(connect: &Connect) {
    good_certificates_are_accepted(connect);
    bad_certificates_are_told_apart(connect);
    what_is_no_tls_is_an_error_in_time(connect);
    only_http_1_1_is_agreed_on(connect);
    a_proxy_leads_to_the_server(connect);
    a_proxy_that_does_not_is_told_with_its_status(connect);
    redirects_are_followed_if_they_may_be(connect);
    what_there_is_no_connection_to_is_told_with_a_hint(connect);
}

/// Starts a client that gives up at the first failure, sends the message, receives one, and closes; or returns how it ended.
pub(crate) type Outlive = dyn Fn(ClientOptions, sansocket::client::ClientConfig, Tls, Message) -> Result<Message, End>;

/// A client that outlives its connections goes the same ways, and knows what is worth another attempt.
pub(crate) fn check_client(outlive: &Outlive) {
    let outlive = |options, tls, message| {
        let mut config = sansocket::client::ClientConfig::default();
        config.backoff.attempts_max = Some(1);
        outlive(options, config, tls, message)
    };
    let authority = Authority::new();
    let secure = Server::start(Some(authority.server("localhost", Validity::Now)), Behaviour::Echo);
    let to_secure = Server::start(None, Behaviour::Redirect(secure.url("https")));
    let proxy = Proxy::start(None, Behaviour::Tunnel { banner: b"" });
    let by_proxy = |options: ClientOptions, port: u16| options.proxy(format!("localhost:{port}").parse().unwrap());
    for options in [
        options(&secure.url("wss")),
        by_proxy(options(&secure.url("wss")), proxy.port()),
        options(&to_secure.url("ws")).redirects(1),
    ] {
        let message = Message::from(vec![7; 1 << 20]);
        assert_eq!(outlive(options, authority.client().into(), message.clone()), Ok(message));
    }

    let fails = |options, tls: Tls| outlive(options, tls, "lost".into()).unwrap_err();
    let foreign = fails(options(&secure.url("wss")), Authority::new().client().into());
    assert!(is_failure(&foreign, ConnectFailureKind::Tls), "{foreign:?}");
    let asking = Proxy::start(None, Behaviour::Answer(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"));
    match fails(by_proxy(options("ws://server.invalid/"), asking.port()), Tls::default()) {
        End::Stopped(Cause::Connect(failure)) => assert_eq!(failure.kind, ConnectFailureKind::ProxyCredentials),
        end => panic!("{end:?}"),
    }
    let silent = Server::start(None, Behaviour::Silent);
    let timeout = Duration::from_millis(200);
    let late = fails(options(&silent.url("wss")).connect_timeout(Some(timeout)), authority.client().into());
    assert_eq!(late, End::GaveUp(Cause::ConnectTimedOut(timeout)));
    let port = std::net::TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    let refused = fails(options(&format!("ws://localhost:{port}/")), Tls::default());
    assert!(is_failure(&refused, ConnectFailureKind::Io), "{refused:?}");
    let unresolved = fails(options(&unresolvable()), Tls::default());
    assert!(is_failure(&unresolved, ConnectFailureKind::Resolve), "{unresolved:?}");
    match fails(options(&to_secure.url("ws")), Tls::default()) {
        End::Stopped(Cause::Refused(refusal)) => assert_eq!(refusal.status, 307),
        end => panic!("{end:?}"),
    }
}

fn is_failure(end: &End, kind: ConnectFailureKind) -> bool {
    matches!(end, End::GaveUp(Cause::Connect(failure)) if failure.kind == kind)
}

fn good_certificates_are_accepted(connect: &Connect) {
    let authority = Authority::new();
    for name in ["localhost", "127.0.0.1"] {
        let server = Server::start(Some(authority.server(name, Validity::Now)), Behaviour::Echo);
        for message in [Message::from("hello"), vec![7; 1 << 20].into()] {
            let options = options(&format!("wss://{name}:{}/", server.port()));
            assert_eq!(connect(options, authority.client().into(), message.clone()).unwrap(), message);
        }
    }
}

fn bad_certificates_are_told_apart(connect: &Connect) {
    let authority = Authority::new();
    let why = |name, validity, client: ClientConfig| {
        let server = Server::start(Some(authority.server(name, validity)), Behaviour::Echo);
        let url = format!("wss://localhost:{}/", server.port());
        let error = connect(options(&url), client.into(), "lost".into()).unwrap_err();
        let ConnectError::Tls { host, source: TlsError::Handshake(source), .. } = &error else { panic!("{error:?}") };
        assert_eq!(host, "localhost");
        match source.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(error)) => error.clone(),
            _ => panic!("{source:?}"),
        }
    };
    let error = why("other.example", Validity::Now, authority.client());
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
    let error = why("localhost", Validity::Past, authority.client());
    assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
    let error = why("localhost", Validity::Now, Authority::new().client());
    assert!(matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature), "{error:?}");
}

fn what_is_no_tls_is_an_error_in_time(connect: &Connect) {
    let client = || Tls::from(Authority::new().client());
    let plain = Server::start(None, Behaviour::Echo);
    let error = connect(options(&plain.url("wss")), client(), "lost".into()).unwrap_err();
    assert!(matches!(error, ConnectError::Tls { source: TlsError::Handshake(_), .. }), "{error:?}");

    let silent = Server::start(None, Behaviour::Silent);
    let begun = Instant::now();
    let options = options(&silent.url("wss")).connect_timeout(Some(Duration::from_millis(200)));
    let error = connect(options, client(), "lost".into()).unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < Duration::from_secs(10));
}

fn only_http_1_1_is_agreed_on(connect: &Connect) {
    let authority = Authority::new();
    let both = |server: &[&[u8]], client: &[&[u8]]| {
        let owned = |protocols: &[&[u8]]| protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let (mut of_server, mut of_client) = (authority.server("localhost", Validity::Now), authority.client());
        (of_server.alpn_protocols, of_client.alpn_protocols) = (owned(server), owned(client));
        let server = Server::start(Some(of_server), Behaviour::Echo);
        connect(options(&server.url("wss")), of_client.into(), "hello".into())
    };
    for server in [&[][..], &[b"http/1.1" as &[u8]], &[b"h2", b"http/1.1"]] {
        assert!(both(server, &[b"http/1.1"]).is_ok());
    }
    let error = both(&[b"h2"], &[b"h2", b"http/1.1"]).unwrap_err();
    let ConnectError::Tls { source: TlsError::Alpn { protocol }, .. } = error else { panic!("{error:?}") };
    assert_eq!(protocol, "h2");
}

fn a_proxy_leads_to_the_server(connect: &Connect) {
    let authority = Authority::new();
    let plain = Server::start(None, Behaviour::Echo);
    let secure = Server::start(Some(authority.server("localhost", Validity::Now)), Behaviour::Echo);
    for url in [plain.url("ws"), secure.url("wss")] {
        let proxy = Proxy::start(None, Behaviour::Tunnel { banner: b"" });
        let options = options(&url).proxy(format!("http://me:s3cret@localhost:{}", proxy.port()).parse().unwrap());
        let message = Message::from(vec![8; 100_000]);
        assert_eq!(connect(options, authority.client().into(), message.clone()).unwrap(), message);
        let heads = proxy.heads();
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with("CONNECT localhost:") && heads[0].contains("Basic bWU6czNjcmV0"), "{heads:?}");
    }
    // Whoever speaks before the client does is not the server.
    for (url, banner) in [(plain.url("ws"), &b"\x88\0"[..]), (secure.url("wss"), b"hello")] {
        let proxy = Proxy::start(None, Behaviour::Tunnel { banner });
        let options = options(&url).proxy(format!("localhost:{}", proxy.port()).parse().unwrap());
        let error = connect(options, authority.client().into(), "lost".into()).unwrap_err();
        assert!(
            matches!(error, ConnectError::Handshake { .. } | ConnectError::Tls { source: TlsError::Handshake(_), .. }),
            "{error:?}"
        );
    }
}

fn a_proxy_that_does_not_is_told_with_its_status(connect: &Connect) {
    let attempt = |behaviour: Behaviour, scheme: &str, timeout: u64| {
        let proxy = Proxy::start(None, behaviour);
        let options = options("ws://server.invalid/")
            .proxy(format!("{scheme}://localhost:{}", proxy.port()).parse().unwrap())
            .connect_timeout(Some(Duration::from_millis(timeout)));
        connect(options, Tls::default(), "lost".into()).unwrap_err()
    };
    let answer = Behaviour::Answer(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno");
    match attempt(answer, "http", 5000) {
        ConnectError::Proxy { source: ProxyError::Refused(refusal), .. } => {
            assert_eq!((refusal.status, &refusal.body[..]), (407, &b"no"[..]));
        }
        error => panic!("{error:?}"),
    }
    for (behaviour, scheme, expected) in [
        (Behaviour::Answer(b"HTTP/1.1 200"), "http", ProxyError::EndOfStream),
        (Behaviour::Answer(b"\x05\xff"), "socks5", ProxyError::NoAcceptableMethod),
        (Behaviour::Answer(b"HTTP"), "socks5", ProxyError::NotSocks5 { version: b'H' }),
    ] {
        match attempt(behaviour, scheme, 5000) {
            ConnectError::Proxy { source, .. } => assert_eq!(source, expected),
            error => panic!("{error:?}"),
        }
    }
    let error = attempt(Behaviour::Silent, "http", 100);
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
}

fn redirects_are_followed_if_they_may_be(connect: &Connect) {
    let authority = Authority::new();
    let end = Server::start(Some(authority.server("localhost", Validity::Now)), Behaviour::Echo);
    let secure = Server::start(Some(authority.server("localhost", Validity::Now)), Behaviour::Redirect(end.url("wss")));
    let first = Server::start(None, Behaviour::Redirect(secure.url("https")));
    let attempt = |url: &str, max: u32| {
        let options = options(url).header("Authorization", "s3cret").unwrap().redirects(max);
        connect(options, authority.client().into(), "hello".into())
    };
    assert_eq!(attempt(&first.url("ws"), 2).unwrap(), "hello".into());
    for (server, told) in [(&first, true), (&secure, false), (&end, false)] {
        let heads = server.heads();
        assert!(heads.len() == 1 && heads[0].contains("s3cret") == told, "{heads:?}");
    }
    match attempt(&first.url("ws"), 1) {
        Err(ConnectError::Redirect { source: RedirectError::TooMany { max: 1 }, refusal }) => {
            assert_eq!(refusal.status, 307)
        }
        outcome => panic!("{outcome:?}"),
    }
    assert!(matches!(attempt(&first.url("ws"), 0), Err(ConnectError::Refused(refusal)) if refusal.status == 307));
    let down = Server::start(Some(authority.server("localhost", Validity::Now)), Behaviour::Redirect(first.url("ws")));
    match attempt(&down.url("wss"), 9) {
        Err(ConnectError::Redirect { source: RedirectError::Downgrade, .. }) => {}
        outcome => panic!("{outcome:?}"),
    }
}

fn what_there_is_no_connection_to_is_told_with_a_hint(connect: &Connect) {
    let told = |url: &str| {
        let error = connect(options(url), Authority::new().client().into(), "lost".into()).unwrap_err();
        (error.to_string(), error)
    };
    let (text, error) = told(&unresolvable());
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
    assert!(text.ends_with("; check the name, and whether there is a network"), "{text}");
    let listener = std::net::TcpListener::bind("localhost:0").unwrap();
    let down = url("ws", listener.local_addr().unwrap());
    drop(listener);
    let (text, error) = told(&down);
    assert!(matches!(error, ConnectError::Io { .. }), "{error:?}");
    assert!(text.ends_with("; is the server running?"), "{text}");
    let plain = Server::start(None, Behaviour::Answer(b"HTTP/1.1 400 No\r\n\r\n"));
    let (text, _) = told(&plain.url("wss"));
    assert!(text.ends_with("; is it a server without TLS? then the URL begins with ws://"), "{text}");
    let secure = Server::start(Some(Authority::new().server("localhost", Validity::Now)), Behaviour::Echo);
    let (text, _) = told(&secure.url("wss"));
    assert!(text.ends_with("; trust its issuer, if you know who that is"), "{text}");
}

/// Of a host whose name is longer than names may be, so that no network is asked for it.
fn unresolvable() -> String {
    format!("ws://{}.invalid/", "x".repeat(64))
}

fn options(url: &str) -> ClientOptions {
    ClientOptions::new(url).unwrap()
}

/// Where a listener of this machine is, under the name that certificates are for.
fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://localhost:{}/", address.port())
}
