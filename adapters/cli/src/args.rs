//! The command line: what may be said, and what its help says.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sansocket::OriginPolicy;
use sansocket::handshake::WsUrl;
use sansocket::proxy::Proxy;

use crate::runtime::RuntimeArgs;
use crate::tls::{ClientTlsArgs, ServerTlsArgs};

/// WebSockets (RFC 6455) at the command line.
#[derive(Debug, Parser)]
#[command(
    name = "sansocket",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an echo server: each message comes back as it was.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Connect to a server: lines typed become messages, messages become lines.
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect(ConnectArgs),
    /// Watch a server and a client talk, misbehave, lose their connection and recover.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
}

impl Command {
    /// As it is written.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Connect(_) => "connect",
            Self::Demo(_) => "demo",
        }
    }
}

/// The options of `sansocket serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one, and the first line
    /// printed tells which
    #[arg(verbatim_doc_comment, long, value_name = "ADDR", default_value = "127.0.0.1:9001", value_parser = parse_listen)]
    pub(crate) listen: SocketAddr,

    /// A subprotocol that is spoken; repeat it for more, the preferred first.
    #[arg(long = "subprotocol", value_name = "NAME", value_parser = parse_subprotocol)]
    pub(crate) subprotocols: Vec<String>,

    /// Which web pages may connect: `same` (of this host and port),
    /// `any`, or origins with commas between; programs that are no
    /// browser always may
    #[arg(verbatim_doc_comment, long, value_name = "same|any|LIST", default_value = "same", value_parser = parse_origin_policy)]
    pub(crate) origin: OriginPolicy,

    /// The longest message that is received; a longer one closes with
    /// 1009; units: K, M, G
    #[arg(verbatim_doc_comment, long, value_name = "BYTES", default_value = "16M", value_parser = parse_bytes)]
    pub(crate) max_message: u64,

    /// How many connections are served at once; the next ones wait until
    /// one ends
    #[arg(verbatim_doc_comment, long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    /// How often a client is pinged, in seconds or with a unit (500ms,
    /// 2m); 0 for never
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "25", value_parser = parse_interval)]
    pub(crate) ping_interval: Interval,

    /// How long a client may send nothing at all before it is told to
    /// go; 0 for ever; pongs count, so use it with `--ping-interval 0`
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "0", value_parser = parse_interval)]
    pub(crate) idle_timeout: Interval,

    /// How long a client may take for its request, TLS apart, from the
    /// first byte to the last; 0 for ever
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "10", value_parser = parse_interval)]
    pub(crate) handshake_timeout: Interval,

    /// How long a pinged client may be silent before it counts as gone;
    /// 0 for ever
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "20", value_parser = parse_interval)]
    pub(crate) pong_timeout: Interval,

    /// How long a client may read nothing while something waits for it;
    /// 0 for ever
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "30", value_parser = parse_interval)]
    pub(crate) write_timeout: Interval,

    /// How long a client may take for one message, from its first byte
    /// to its last; 0 for ever
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "120", value_parser = parse_interval)]
    pub(crate) message_timeout: Interval,

    /// Compress with clients that offer it (permessage-deflate).
    #[arg(long)]
    pub(crate) deflate: bool,

    /// Log no connections, only trouble.
    #[arg(long)]
    pub(crate) quiet: bool,

    /// How it speaks TLS.
    #[command(flatten)]
    pub(crate) tls: ServerTlsArgs,

    /// What it runs on.
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

/// The options of `sansocket connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The server, such as `ws://127.0.0.1:9001/path`.
    #[arg(value_parser = parse_url)]
    pub(crate) url: WsUrl,

    /// A header field for the request; repeat it for more.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(String, String)>,

    /// A subprotocol to offer; repeat it for more, the preferred first.
    #[arg(long = "subprotocol", value_name = "NAME", value_parser = parse_subprotocol)]
    pub(crate) subprotocols: Vec<String>,

    /// The `Origin` to claim, as a browser would for a page from there.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,

    /// How often the server is pinged, in seconds or with a unit (500ms,
    /// 2m); 0 for never
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "25", value_parser = parse_interval)]
    pub(crate) ping_interval: Interval,

    /// The longest message that is received (a longer one closes with
    /// 1009), and the longest line that is sent; units: K, M, G
    #[arg(verbatim_doc_comment, long, value_name = "BYTES", default_value = "16M", value_parser = parse_bytes)]
    pub(crate) max_message: u64,

    /// Offer to compress (permessage-deflate); what it came to is told at
    /// the end
    #[arg(verbatim_doc_comment, long)]
    pub(crate) deflate: bool,

    /// A proxy to go through, `http://`, `socks5://` or `socks5h://`,
    /// perhaps with `user:password@`; or `env` for the one that
    /// HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name
    #[arg(verbatim_doc_comment, long, value_name = "URL|env", value_parser = parse_proxy)]
    pub(crate) proxy: Option<ProxyArg>,

    /// How many redirects are followed.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) redirects: u32,

    /// How long it may take until the server, or the proxy, is connected,
    /// and TLS agreed on; 0 for as long as the system tries
    #[arg(verbatim_doc_comment, long, value_name = "TIME", default_value = "10", value_parser = parse_interval)]
    pub(crate) connect_timeout: Interval,

    /// Connect again, after a delay that grows, whenever there is no
    /// connection; lines wait meanwhile, and what happens is told. It ends
    /// when another attempt would meet the same: when the server closes
    /// with 1000, 1003, 1008, 1009 or 1010, wants credentials, or refuses
    /// with 501, 505, a redirect, or a 4xx other than 408, 425 and 429
    #[arg(verbatim_doc_comment, long)]
    pub(crate) reconnect: bool,

    /// How often in a row an attempt may fail before it gives up; 0 for
    /// any number
    #[arg(verbatim_doc_comment, long, value_name = "N", default_value = "0", requires = "reconnect")]
    pub(crate) attempts: u32,

    /// Whom it trusts.
    #[command(flatten)]
    pub(crate) tls: ClientTlsArgs,

    /// What it runs on.
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

/// The options of `sansocket demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print one JSON object at the end instead of a timeline.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How often, or how long; `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Option<Duration>);

/// The way through a proxy.
#[derive(Clone, Debug)]
pub(crate) enum ProxyArg {
    /// Always this one.
    Is(Box<Proxy>),
    /// What the environment says.
    FromEnv,
}

fn parse_url(text: &str) -> Result<WsUrl, String> {
    WsUrl::parse(text).map_err(|error| format!("{error}; for example ws://127.0.0.1:9001/path"))
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| WRITE_ADDRESS.to_owned())
}

fn parse_proxy(text: &str) -> Result<ProxyArg, String> {
    match text {
        "env" => Ok(ProxyArg::FromEnv),
        url => match Proxy::parse(url) {
            Ok(proxy) => Ok(ProxyArg::Is(Box::new(proxy))),
            Err(error) => Err(format!("{error}; for example socks5h://127.0.0.1:1080, or `env`")),
        },
    }
}

/// `K:V`; blanks around the value do not count. Whether it may be sent is up to the request.
fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'NAME: VALUE'")?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn parse_subprotocol(text: &str) -> Result<String, String> {
    if sansocket::handshake::is_token(text.as_bytes()) {
        Ok(text.to_owned())
    } else {
        Err("a subprotocol has letters, digits and !#$%&'*+-.^_`|~ only".to_owned())
    }
}

fn parse_origin_policy(text: &str) -> Result<OriginPolicy, String> {
    match text {
        "same" => Ok(OriginPolicy::SameOrigin),
        "any" => Ok(OriginPolicy::Any),
        list => OriginPolicy::list(list.split(',').map(str::trim))
            .map_err(|error| format!("{error}; or write `same` or `any`")),
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(WRITE_BYTES.to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| WRITE_BYTES)?;
    match number.checked_mul(factor) {
        Some(0) | None => Err(WRITE_BYTES.to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

fn parse_interval(text: &str) -> Result<Interval, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err(WRITE_TIME.to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| WRITE_TIME)?;
    let duration = Duration::try_from_secs_f64(number * factor).map_err(|_| WRITE_TIME)?;
    Ok(Interval((!duration.is_zero()).then_some(duration)))
}

const WRITE_ADDRESS: &str =
    "write an address and a port, such as 127.0.0.1:9001, 0.0.0.0:9001 or [::1]:0; names are not resolved";
const WRITE_BYTES: &str = "write a number of bytes above 0, such as 65536, 64K or 16M";
const WRITE_TIME: &str = "write a time such as 30, 0.5, 500ms, 30s or 2m";

const EXAMPLES: &str = "\
Examples:
  sansocket demo                               both ends at work, in under a second
  sansocket serve                              an echo server on 127.0.0.1:9001
  sansocket connect ws://127.0.0.1:9001        type a line, get it back

`sansocket COMMAND --help` tells the options of each, with examples.";

const SERVE_EXAMPLES: &str = "\
Examples:
  sansocket serve
  sansocket serve --listen 0.0.0.0:0 --origin any          any free port, any web page
  sansocket serve --subprotocol chat.v2 --subprotocol chat.v1
  sansocket serve --origin https://example.com,http://localhost:3000
  sansocket serve --max-message 64K --ping-interval 0 --idle-timeout 2m
  sansocket serve --tls-self-signed=/tmp/cert.pem          wss://, for trying things out
  sansocket serve --runtime tokio --threads 2

The first line on the standard output is `listening on ADDR`. Each connection that ended is a line
on the standard error.";

const CONNECT_EXAMPLES: &str = "\
Examples:
  sansocket connect ws://127.0.0.1:9001
  echo hello | sansocket connect ws://127.0.0.1:9001
  sansocket connect ws://127.0.0.1:9001/chat --subprotocol chat --header 'Authorization: Bearer TOKEN'
  sansocket connect ws://127.0.0.1:9001 --origin https://example.com
  sansocket connect wss://localhost:9001 --cafile /tmp/cert.pem
  sansocket connect wss://example.com/chat --proxy socks5h://user:password@127.0.0.1:1080
  sansocket connect ws://127.0.0.1:9001 --reconnect --ping-interval 1s

Each line of the standard input is sent as a text message. Each text message is a line on the
standard output, shown on a terminal with its control characters escaped; a binary one is the line
`binary: ` and its bytes in hexadecimal. At the end of the input the connection closes with 1000, and
what still arrives is printed. All else is on the standard error.

Exit status: 0 the connection closed cleanly, with 1000, 1001, no code, or a code from 3000 on
             1 it did not, there was none, or a line was left out: the standard error tells why
             2 the command line is wrong";

const DEMO_EXAMPLES: &str = "\
Examples:
  sansocket demo
  sansocket demo --json | python3 -m json.tool

All of it runs over sockets of this machine, on a free port. Exit status: 0 when all that was
claimed held, 1 otherwise. Colours appear on a terminal, unless NO_COLOR is set.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("65536", 65536), ("64K", 65536), ("16m", 16 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "K", "-1", "1.5M", "64KB", "99999999999999999999", "99999999999999G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, millis) in [("30", 30_000), ("0.5", 500), ("500ms", 500), ("2m", 120_000), ("1s", 1000)] {
            assert_eq!(parse_interval(text), Ok(Interval(Some(Duration::from_millis(millis)))), "{text}");
        }
        assert_eq!(parse_interval("0"), Ok(Interval(None)));
        for text in ["", "s", "-1", "1h", "1e3", "1.2.3", "99999999999999999999999999"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse_header("X-A: b: c "), pair("X-A", "b: c"));
        assert_eq!(parse_header("X-A:"), pair("X-A", ""));
        assert!(parse_header("X-A").is_err());
    }
}
