//! What the demonstration shows, chapter by chapter.

use std::sync::Arc;

use sansocket::{CloseCause, CloseCode, ProtocolError};
use sansocket_std::{ConnectError, Connector, Message};

use super::client::Client;
use super::server::{LATER, ORDER, Outcome, REFUSALS_AFTER_CUT, Server};
use super::stranger::Stranger;
use super::summary::Summary;
use super::timeline::{Timeline, Who};
use crate::ending::Ending;
use crate::terminal::Shown;

/// What ends a chapter early.
pub(super) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Plays all chapters, and counts.
pub(super) fn play(timeline: &Arc<Timeline>) -> Summary {
    let mut summary = Summary::default();
    if let Err(trouble) = play_chapters(timeline, &mut summary) {
        timeline.note(Who::Chapter, format_args!("The demonstration ended early: {trouble}"));
        summary.claim(&trouble.to_string(), false);
    }
    summary.elapsed = timeline.elapsed();
    summary
}

fn play_chapters(timeline: &Arc<Timeline>, summary: &mut Summary) -> Result<(), Trouble> {
    timeline.note(Who::Chapter, "A handshake");
    let mut server = Server::start(timeline)?;
    let mut client = Client::connect(server.address(), timeline)?;

    timeline.note(Who::Chapter, "Messages, each of which the server sends back");
    exchange_messages(&mut client)?;

    timeline.note(Who::Chapter, "A heartbeat, while nobody has anything to say");
    feel_heartbeat(&mut client)?;

    timeline.note(Who::Chapter, "A web page from elsewhere");
    knock_as_foreign_page(&mut server, timeline, summary)?;

    timeline.note(Who::Chapter, "A peer that breaks the protocol");
    break_protocol(&mut server, timeline, summary)?;

    timeline.note(Who::Chapter, "A connection that is cut while messages are under way");
    lose_connection(&mut client, &mut server, summary)?;

    timeline.note(Who::Chapter, "The end");
    part(client, &mut server, summary)
}

/// Text, binary, and a text in fragments.
fn exchange_messages(client: &mut Client) -> Result<(), Trouble> {
    client.exchange("hello, κόσμε".into())?;
    client.exchange(Message::from((0..=255).cycle().take(BINARY_LEN).collect::<Vec<u8>>()))?;
    client.exchange_in_fragments(&["a message ", "in three ", "fragments"])
}

/// A message that the server answers only after a while, in which the client pings by itself.
fn feel_heartbeat(client: &mut Client) -> Result<(), Trouble> {
    client.exchange(LATER.into())?;
    let rtt = client.rtt().ok_or("no ping was answered")?;
    client.note(format_args!("its pings were answered, the last one after {:.3} ms", rtt.as_secs_f64() * 1000.0));
    Ok(())
}

/// A handshake with an `Origin` that is not the server's. RFC 6455 section 10.2.
fn knock_as_foreign_page(server: &mut Server, timeline: &Timeline, summary: &mut Summary) -> Result<(), Trouble> {
    let url = format!("ws://{}/page", server.address());
    timeline.note(Who::Client, "asks to connect with `Origin: https://elsewhere.example`");
    let refusal = match Connector::new(&url)?.header("Origin", "https://elsewhere.example")?.connect() {
        Err(ConnectError::Refused(refusal)) => refusal,
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("a foreign page was let in".into()),
    };
    let body = String::from_utf8_lossy(&refusal.body);
    timeline.note(Who::Client, format_args!("is refused with {}: {}", refusal.status, Shown(body.trim())));
    summary.claim("a foreign Origin is refused with 403", refusal.status == 403);
    let outcome = server.next_outcome()?;
    summary.claim("the server tells the refusal", matches!(outcome, Outcome::Refused));
    Ok(())
}

/// A frame without the mask that every client's frame has. RFC 6455 section 5.1.
fn break_protocol(server: &mut Server, timeline: &Timeline, summary: &mut Summary) -> Result<(), Trouble> {
    let mut stranger = Stranger::connect(server.address())?;
    timeline.note(Who::Stranger, "connected by a raw socket; sends a frame without a mask");
    stranger.send_unmasked()?;
    let farewell = stranger.hear_farewell()?;
    timeline.note(Who::Stranger, format_args!("is sent a Close: {} {:?}", farewell.code, farewell.reason));
    summary.claim("a protocol error closes with 1002", farewell.code == CloseCode::PROTOCOL_ERROR);
    let Outcome::Ended(closed) = server.next_outcome()? else {
        return Err("the server missed a protocol error".into());
    };
    let is_missing_mask = closed.cause == CloseCause::Protocol(ProtocolError::MaskMissing);
    summary.claim("the server tells the protocol error", is_missing_mask);
    Ok(())
}

/// Many messages at once, of which the server answers some, then cuts the connection, then is away for a moment.
fn lose_connection(client: &mut Client, server: &mut Server, summary: &mut Summary) -> Result<(), Trouble> {
    server.prepare_cut();
    client.deliver((1..=ORDERS).map(|number| format!("{ORDER}{number}")).collect())?;
    summary.claim("the client connected again, once", client.tally().reconnections == 1);
    let is_cut = matches!(server.next_outcome()?, Outcome::Cut);
    summary.claim("the server cut the connection", is_cut);
    for _ in 0..REFUSALS_AFTER_CUT {
        let is_refused = matches!(server.next_outcome()?, Outcome::Refused);
        summary.claim("the server turned the client away while it was restarting", is_refused);
    }
    Ok(())
}

/// A closing handshake. RFC 6455 section 7.
fn part(client: Client, server: &mut Server, summary: &mut Summary) -> Result<(), Trouble> {
    let (closed, tally) = client.close()?;
    summary.claim("the client closes cleanly with 1000", Ending(&closed).is_good() && closed.code == CloseCode::NORMAL);
    let Outcome::Ended(closed) = server.next_outcome()? else { return Err("the server missed the close".into()) };
    summary.claim("the server closes cleanly with 1000", Ending(&closed).is_good() && closed.code == CloseCode::NORMAL);
    summary.claim("each message came back once, in order", tally.sent == tally.received);
    summary.client = tally;
    summary.server = server.tally();
    Ok(())
}

/// Above 65,535, so that the length takes all eight bytes that a header has for it.
const BINARY_LEN: usize = 70_000;
const ORDERS: u32 = 24;
