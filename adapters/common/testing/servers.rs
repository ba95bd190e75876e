//! Servers and proxies of one test, each on a free port, with threads that end with the process.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;
use sansocket::handshake::RequestHead;
use sansocket_std::{Acceptance, Acceptor, Rejection, TlsStream, Transport};

/// What a server or a proxy does with whoever connects.
#[derive(Clone)]
pub(super) enum Behaviour {
    /// Sends back each message.
    Echo,
    /// Answers 307.
    Redirect(String),
    /// Says nothing.
    Silent,
    /// Reads once, answers so, and ends the stream.
    Answer(&'static [u8]),
    /// Answers 200 and this, and passes bytes on to the server.
    Tunnel { banner: &'static [u8] },
}

/// A server, or a proxy.
pub(super) struct Server {
    address: SocketAddr,
    heads: Heads,
}

pub(super) type Proxy = Server;

/// The requests that came in.
type Heads = Arc<Mutex<Vec<String>>>;

impl Server {
    pub(super) fn start(tls: Option<ServerConfig>, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), heads: Heads::default() };
        let (tls, heads) = (tls.map(Arc::new), Arc::clone(&server.heads));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, behaviour, tls, heads) =
                    (stream.unwrap(), behaviour.clone(), tls.clone(), Arc::clone(&heads));
                thread::spawn(move || serve(stream, tls, &behaviour, &heads));
            }
        });
        server
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self, scheme: &str) -> String {
        super::url(scheme, self.address)
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Whether it goes well is for the client to tell.
fn serve(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    behaviour: &Behaviour,
    heads: &Heads,
) -> io::Result<()> {
    match behaviour {
        Behaviour::Echo | Behaviour::Redirect(_) => match tls {
            None => answer(stream, behaviour, heads),
            Some(config) => {
                if let Ok(tls) = TlsStream::server(stream, config, Some(Duration::from_secs(10))) {
                    answer(tls, behaviour, heads);
                }
            }
        },
        Behaviour::Silent => drop(stream.read_to_end(&mut Vec::new())),
        Behaviour::Answer(bytes) => {
            let _ = stream.read(&mut [0; 1000])?;
            stream.write_all(bytes)?;
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut Vec::new())?;
        }
        Behaviour::Tunnel { banner } => {
            let head = read_head(&mut stream)?;
            let server = head.split(' ').nth(1).unwrap_or_default().to_owned();
            heads.lock().unwrap().push(head);
            let server = TcpStream::connect(server)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            stream.write_all(banner)?;
            let (from, to) = (stream.try_clone()?, server.try_clone()?);
            let upwards = thread::spawn(move || pass(from, to));
            pass(server, stream)?;
            let _ = upwards.join();
        }
    }
    Ok(())
}

fn answer<S: Transport>(stream: S, behaviour: &Behaviour, heads: &Heads) {
    let decide = |request: &RequestHead<'_>| {
        let fields =
            request.headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)));
        heads.lock().unwrap().push(fields.collect());
        match behaviour {
            Behaviour::Redirect(location) => Err(Rejection::new(307).unwrap().header("Location", location).unwrap()),
            _ => Ok(Acceptance::new()),
        }
    };
    let Ok(mut socket) = Acceptor::new().accept_with(stream, decide) else { return };
    while let Ok(Some(message)) = socket.recv() {
        let _ = socket.send(message);
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn pass(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
