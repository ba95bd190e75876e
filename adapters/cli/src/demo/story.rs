//! What the demonstration shows, chapter by chapter.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sansocket::{CloseCause, CloseCode, ProtocolError};
use sansocket_std::client::End;
use sansocket_std::{Closed, ConnectError, Connector, Message};

use super::client::{Client, Tally};
use super::lasting::Lasting;
use super::server::{LATER, Outcome, Server};
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

    timeline.note(Who::Chapter, "A closing handshake");
    let exchanged = part(client, &mut server, summary)?;

    timeline.note(Who::Chapter, "A client that outlives its connections, and a server that dies in the middle");
    let mut lasting = Lasting::start(server.address(), timeline)?;
    survive(&mut lasting, &mut server, summary)?;

    timeline.note(Who::Chapter, "A request");
    let booked = lasting.ask()?;
    summary.claim("a request gets its answer", booked == ORDERS);

    timeline.note(Who::Chapter, "The end");
    let ordered = end(lasting, &mut server, summary)?;
    add_up(exchanged, ordered, &server, summary);
    Ok(())
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

/// A closing handshake. RFC 6455 section 7.
fn part(client: Client, server: &mut Server, summary: &mut Summary) -> Result<Tally, Trouble> {
    let (closed, tally) = client.close()?;
    summary.claim("the client closes cleanly with 1000", is_farewell(&closed));
    expect_farewell(server, summary)?;
    Ok(tally)
}

/// Orders, some of which are under way when the server dies, and some of which are made while there is none.
fn survive(client: &mut Lasting, server: &mut Server, summary: &mut Summary) -> Result<(), Trouble> {
    server.prepare_death(ORDERS_BEFORE_DEATH);
    client.note(format_args!("sends {ORDERS_TO_THE_FIRST} orders"));
    client.order(1..=ORDERS_TO_THE_FIRST)?;
    summary.claim("the server dies in the middle", matches!(server.next_outcome()?, Outcome::Died));
    server.await_silence()?;

    client.order(ORDERS_TO_THE_FIRST + 1..=ORDERS)?;
    let (new, queued) = (ORDERS - ORDERS_TO_THE_FIRST, client.queued());
    client.note(format_args!("is given {new} more orders: {queued} wait now"));
    summary.claim("what is sent while there is no server waits", queued >= u64::from(new));
    thread::sleep(DEAD_FOR);
    server.restart()?;

    client.await_open()?;
    let all_arrived = client.await_outcomes()?;
    client.note(format_args!("knows of each of the {ORDERS} orders that it has arrived"));
    summary.claim("each order is known to have arrived", all_arrived);
    summary.claim("each order is booked once, and in order", server.ledger() == (1..=ORDERS).collect::<Vec<_>>());
    Ok(())
}

/// The queue drains, then there is a closing handshake.
fn end(client: Lasting, server: &mut Server, summary: &mut Summary) -> Result<Tally, Trouble> {
    let (end, tally) = client.close()?;
    let is_clean = matches!(&end, End::Closed(Some(closed)) if is_farewell(closed));
    summary.claim("the client that came back closes cleanly with 1000", is_clean);
    expect_farewell(server, summary)?;
    summary.claim("the client came back once", tally.reconnections == 1);
    Ok(tally)
}

fn expect_farewell(server: &mut Server, summary: &mut Summary) -> Result<(), Trouble> {
    let Outcome::Ended(closed) = server.next_outcome()? else { return Err("the server missed the close".into()) };
    summary.claim("the server closes cleanly with 1000", is_farewell(&closed));
    Ok(())
}

fn is_farewell(closed: &Closed) -> bool {
    Ending(closed).is_good() && closed.code == CloseCode::NORMAL
}

fn add_up(exchanged: Tally, ordered: Tally, server: &Server, summary: &mut Summary) {
    summary.client = Tally {
        sent: exchanged.sent + ordered.sent,
        received: exchanged.received + ordered.received,
        bytes_sent: exchanged.bytes_sent + ordered.bytes_sent,
        bytes_received: exchanged.bytes_received + ordered.bytes_received,
        rtt: exchanged.rtt,
        ..ordered
    };
    summary.server = server.tally();
    summary.claim("as much arrived as was sent", summary.client.sent == summary.client.received);
}

/// Above 65,535, so that the length takes all eight bytes that a header has for it.
const BINARY_LEN: usize = 70_000;
const ORDERS: u32 = 24;
/// So many of them are sent while the server is there.
const ORDERS_TO_THE_FIRST: u32 = 12;
/// And so many of these are booked before it dies.
const ORDERS_BEFORE_DEATH: u32 = 5;
/// Long enough for the client to try in vain.
const DEAD_FOR: Duration = Duration::from_millis(150);
