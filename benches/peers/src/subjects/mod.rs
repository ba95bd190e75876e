//! Who does the work: each library the way its documentation recommends, with its fast path where it has one.

mod fastwebsockets;
mod floor;
mod memcpy;
mod sansocket;
mod soketto;
mod tokio_websockets;
mod tungstenite;
mod web_socket;
mod websocket_sans_io;
mod yawc;

use crate::wire::{Case, Direction};

/// Does so many messages; returns the sum of their [`seen`](crate::wire::seen), or how many bytes have been written so far.
pub(crate) type Work = Box<dyn FnMut(usize) -> u64>;

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// `None` for what it does not do.
    pub(crate) work: fn(&Case) -> Option<Work>,
}

/// The library that this is all about first, then what no library can beat, then the others.
pub(crate) const SUBJECTS: [Subject; 10] = [
    Subject { name: "sansocket", work: |case| by_direction(case, sansocket::receive, sansocket::send) },
    Subject { name: FLOOR, work: |case| by_direction(case, floor::receive, floor::send) },
    Subject { name: MEMCPY, work: |case| by_direction(case, memcpy::receive, memcpy::send) },
    Subject { name: "tungstenite", work: |case| by_direction(case, tungstenite::receive, tungstenite::send) },
    Subject { name: "fastwebsockets", work: |case| by_direction(case, fastwebsockets::receive, fastwebsockets::send) },
    Subject {
        name: "tokio-websockets",
        work: |case| by_direction(case, tokio_websockets::receive, tokio_websockets::send),
    },
    Subject { name: "yawc", work: |case| by_direction(case, yawc::receive, yawc::send) },
    Subject { name: "soketto", work: |case| by_direction(case, soketto::receive, soketto::send) },
    Subject { name: "web-socket", work: |case| by_direction(case, web_socket::receive, web_socket::send) },
    Subject {
        name: "websocket-sans-io",
        work: |case| by_direction(case, websocket_sans_io::receive, websocket_sans_io::send),
    },
];
pub(crate) const FLOOR: &str = "floor";
pub(crate) const MEMCPY: &str = "memcpy";

fn by_direction(case: &Case, receive: fn(&Case) -> Work, send: fn(&Case) -> Work) -> Option<Work> {
    Some(match case.direction {
        Direction::Receive => receive(case),
        Direction::Send => send(case),
    })
}
