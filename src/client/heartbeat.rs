//! Whether the peer is still there: beats, what answers them, and how long that takes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::Message;

/// How often a [`Heartbeat`] beats, and how patient it is.
///
/// ```
/// use sansocket::client::{Beat, HeartbeatConfig};
/// use std::{sync::Arc, time::Duration};
///
/// let mut config = HeartbeatConfig::default();
/// config.interval = Some(Duration::from_secs(10));
/// config.timeout = Duration::from_secs(5);
/// config.missed_max = 1;
/// config.beat = Beat::Message {
///     message: "ping".into(),
///     is_answer: Arc::new(|message| message.as_text() == Some("pong")),
/// };
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeartbeatConfig {
    /// From one beat to the next; `None` for no heartbeat. Less than a millisecond counts as one, here and below.
    ///
    /// 25 s: two fit in the 60 s after which common proxies drop what is silent, and many mobile networks keep a mapping for 30 s.
    pub interval: Option<Duration>,

    /// How long after a beat has left a sign of life must have come.
    ///
    /// 20 s: longer than the stalls of mobile networks, so that a dead peer is noticed within 45 s.
    pub timeout: Duration,

    /// How many beats in a row may be missed. After each, the next goes out at once.
    ///
    /// None: TCP loses nothing, so that a second beat only makes the timeout longer. For links through which whole messages get lost.
    pub missed_max: u32,

    /// What a beat is.
    ///
    /// A ping: every peer answers it, below the application.
    pub beat: Beat,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Some(Duration::from_secs(25)),
            timeout: Duration::from_secs(20),
            missed_max: 0,
            beat: Beat::Ping,
        }
    }
}

/// What is sent for a sign of life.
#[derive(Clone)]
pub enum Beat {
    /// A ping frame. RFC 6455 section 5.5.2.
    Ping,
    /// A message, for a peer that counts messages only, or whose pings do not get through.
    Message {
        /// What is sent.
        message: Message,
        /// Which messages answer it. They are not delivered.
        is_answer: Arc<dyn Fn(&Message) -> bool + Send + Sync>,
    },
}

impl fmt::Debug for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("Ping"),
            Self::Message { message, .. } => {
                f.debug_struct("Message").field("message", message).finish_non_exhaustive()
            }
        }
    }
}

/// Beats while it runs, and tells when nothing comes back.
///
/// It sends nothing itself:
///
/// ```
/// use sansocket::client::{Heartbeat, HeartbeatConfig, HeartbeatOrder};
/// use std::time::{Duration, Instant};
///
/// let mut now = Instant::now();
/// let mut heartbeat = Heartbeat::new(HeartbeatConfig::default());
/// heartbeat.start(now);
///
/// now = heartbeat.poll_timeout().unwrap(); // 25 s later
/// heartbeat.handle_timeout(now);
/// assert_eq!(heartbeat.poll_order(), Some(HeartbeatOrder::Beat)); // send a ping
/// heartbeat.handle_beat_sent(now);
///
/// now += Duration::from_millis(30);
/// heartbeat.handle_received(now); // any byte counts as life
/// heartbeat.handle_answer(now); // and the pong tells the round trip
/// assert_eq!(heartbeat.rtt(), Some(Duration::from_millis(30)));
/// ```
#[derive(Debug)]
pub struct Heartbeat {
    config: HeartbeatConfig,
    next: Option<Instant>,
    beat: BeatState,
    missed: u32,
    order: Option<HeartbeatOrder>,
    rtt: Option<Duration>,
    smoothed_rtt: Option<Duration>,
}

/// What a heartbeat wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatOrder {
    /// Send a beat, and tell by [`Heartbeat::handle_beat_sent`] when it has left.
    Beat,
    /// The peer counts as gone. Nothing follows until the next start.
    Lost,
}

/// The last beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BeatState {
    /// There is none, or it was answered.
    None,
    /// It is to be sent, or still waits for the transport.
    Leaving,
    /// It has left; `due` until there was a sign of life.
    Sent { at: Instant, due: Option<Instant> },
}

impl Heartbeat {
    /// At rest.
    pub fn new(config: HeartbeatConfig) -> Self {
        Self { config, next: None, beat: BeatState::None, missed: 0, order: None, rtt: None, smoothed_rtt: None }
    }

    /// The connection is open: the first beat is an interval away.
    pub fn start(&mut self, now: Instant) {
        self.stop();
        self.next = self.config.interval.and_then(|interval| after(now, interval));
    }

    /// The connection is over.
    pub fn stop(&mut self) {
        (self.next, self.beat, self.missed, self.order) = (None, BeatState::None, 0, None);
    }

    /// Some bytes arrived: the peer is alive.
    pub fn handle_received(&mut self, _now: Instant) {
        self.missed = 0;
        if let BeatState::Sent { due, .. } = &mut self.beat {
            *due = None;
        }
        if self.order == Some(HeartbeatOrder::Lost) {
            self.order = None;
        }
    }

    /// The beat has left: the transport has taken all of it.
    pub fn handle_beat_sent(&mut self, now: Instant) {
        if self.beat == BeatState::Leaving {
            self.beat = BeatState::Sent { at: now, due: after(now, self.config.timeout) };
        }
    }

    /// The answer to the last beat arrived: how long it took. `None` when no beat waits for one, or when it is not told yet that the beat has left.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "seven eighths of one and one of another are no more than the longer"
    )]
    pub fn handle_answer(&mut self, now: Instant) -> Option<Duration> {
        self.handle_received(now);
        if self.order == Some(HeartbeatOrder::Beat) {
            return None; // To an earlier one: this is not even sent.
        }
        let BeatState::Sent { at, .. } = std::mem::replace(&mut self.beat, BeatState::None) else {
            return None;
        };
        let rtt = now.saturating_duration_since(at);
        self.rtt = Some(rtt);
        // As TCP smooths: RFC 6298 section 2.
        self.smoothed_rtt = Some(self.smoothed_rtt.map_or(rtt, |smoothed| smoothed - smoothed / 8 + rtt / 8));
        Some(rtt)
    }

    /// Does what is due. The next deadline is later then. Ask for orders afterwards, when everything that arrived was reported.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let BeatState::Sent { due: Some(due), .. } = self.beat
            && due <= now
        {
            self.missed = self.missed.saturating_add(1);
            let is_lost = self.missed > self.config.missed_max;
            self.beat = if is_lost { BeatState::None } else { BeatState::Leaving };
            self.order = Some(if is_lost { HeartbeatOrder::Lost } else { HeartbeatOrder::Beat });
        }
        if self.next.is_some_and(|next| next <= now) {
            self.next = self.config.interval.and_then(|interval| after(now, interval));
            // One that waits for the transport, or for a sign of life, tells as much as another would.
            let is_waiting = matches!(self.beat, BeatState::Leaving | BeatState::Sent { due: Some(_), .. });
            if !is_waiting && self.order.is_none() {
                self.beat = BeatState::Leaving;
                self.order = Some(HeartbeatOrder::Beat);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = match self.beat {
            BeatState::Sent { due, .. } => due,
            BeatState::None | BeatState::Leaving => None,
        };
        self.next.into_iter().chain(due).min()
    }

    /// What is to be done now.
    pub fn poll_order(&mut self) -> Option<HeartbeatOrder> {
        let order = self.order.take()?;
        if order == HeartbeatOrder::Lost {
            self.stop();
        }
        Some(order)
    }

    /// The round trip of the last beat that was answered.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The round trip, smoothed as TCP does it (RFC 6298 section 2): one that is out of line counts an eighth.
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.smoothed_rtt
    }
}

/// Keeps a deadline of nothing from being due again at once.
pub(super) fn after(from: Instant, timeout: Duration) -> Option<Instant> {
    from.checked_add(timeout.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SEC: Duration = Duration::from_secs(1);

    fn started(change: impl FnOnce(&mut HeartbeatConfig)) -> (Heartbeat, Instant) {
        let mut config = HeartbeatConfig::default();
        change(&mut config);
        let (mut heartbeat, now) = (Heartbeat::new(config), Instant::now());
        heartbeat.start(now);
        (heartbeat, now)
    }

    /// Lets the clock strike, and sends what is to be sent.
    fn strike(heartbeat: &mut Heartbeat, now: Instant) -> Option<HeartbeatOrder> {
        heartbeat.handle_timeout(now);
        assert!(heartbeat.poll_timeout().is_none_or(|next| next > now), "a hot loop");
        let order = heartbeat.poll_order();
        if order == Some(HeartbeatOrder::Beat) {
            heartbeat.handle_beat_sent(now);
        }
        order
    }

    #[test]
    fn a_silent_peer_is_lost_after_interval_and_timeout() {
        let (mut heartbeat, start) = started(|_| ());
        assert_eq!(strike(&mut heartbeat, start + 25 * SEC - MS), None);
        assert_eq!(strike(&mut heartbeat, start + 25 * SEC), Some(HeartbeatOrder::Beat));
        assert_eq!(strike(&mut heartbeat, start + 45 * SEC - MS), None);
        assert_eq!(strike(&mut heartbeat, start + 45 * SEC), Some(HeartbeatOrder::Lost));
        assert_eq!(heartbeat.poll_timeout(), None);
        assert_eq!(strike(&mut heartbeat, start + 100 * SEC), None);
    }

    #[test]
    fn each_missed_beat_that_is_allowed_buys_another_timeout() {
        let (mut heartbeat, start) = started(|config| config.missed_max = 2);
        let mut told = Vec::new();
        while let Some(now) = heartbeat.poll_timeout() {
            told.extend(strike(&mut heartbeat, now).map(|order| ((now - start).as_secs(), order)));
        }
        use HeartbeatOrder::{Beat, Lost};
        assert_eq!(told, [(25, Beat), (45, Beat), (65, Beat), (85, Lost)]);
    }

    #[test]
    fn an_answer_may_be_there_before_its_beat_is_told_to_have_left() {
        let (mut heartbeat, start) = started(|_| ());
        heartbeat.handle_timeout(start + 25 * SEC);
        // To an earlier beat: the one that is due is sent all the same.
        assert_eq!(heartbeat.handle_answer(start + 25 * SEC), None);
        assert_eq!(heartbeat.poll_order(), Some(HeartbeatOrder::Beat));
        assert_eq!(heartbeat.handle_answer(start + 26 * SEC), None);
        heartbeat.handle_beat_sent(start + 27 * SEC);
        assert_eq!((heartbeat.poll_timeout(), heartbeat.rtt()), (Some(start + 50 * SEC), None));
        assert_eq!(strike(&mut heartbeat, start + 50 * SEC), Some(HeartbeatOrder::Beat));
        assert_eq!(heartbeat.handle_answer(start + 51 * SEC), Some(SEC));
    }

    #[test]
    fn any_byte_counts_as_life_until_the_loss_is_taken() {
        let (mut heartbeat, start) = started(|_| ());
        strike(&mut heartbeat, start + 25 * SEC);
        heartbeat.handle_received(start + 26 * SEC);
        assert_eq!(strike(&mut heartbeat, start + 45 * SEC), None);
        assert_eq!(
            strike(&mut heartbeat, start + 50 * SEC),
            Some(HeartbeatOrder::Beat),
            "without an answer, the next is due"
        );
        heartbeat.handle_timeout(start + 70 * SEC);
        heartbeat.handle_received(start + 70 * SEC);
        assert_eq!(heartbeat.poll_order(), None, "what arrived in time is reported after the clock struck");
        assert!(heartbeat.poll_timeout().is_some());
    }

    #[test]
    fn a_beat_that_has_not_left_is_not_awaited() {
        let (mut heartbeat, start) = started(|_| ());
        heartbeat.handle_timeout(start + 25 * SEC);
        assert_eq!(heartbeat.poll_order(), Some(HeartbeatOrder::Beat));
        for beat in 2..10 {
            assert_eq!(strike(&mut heartbeat, start + beat * 25 * SEC), None);
        }
        heartbeat.handle_beat_sent(start + 250 * SEC - SEC);
        assert_eq!(heartbeat.poll_timeout(), Some(start + 250 * SEC));
        assert_eq!(heartbeat.handle_answer(start + 250 * SEC), Some(SEC));
    }

    #[test]
    fn the_round_trip_is_smoothed() {
        let (mut heartbeat, mut now) = started(|_| ());
        for (rtt, smoothed) in [(80, 80), (160, 90), (90, 90)] {
            now = heartbeat.poll_timeout().unwrap();
            strike(&mut heartbeat, now);
            assert_eq!(heartbeat.handle_answer(now + rtt * MS), Some(rtt * MS));
            assert_eq!((heartbeat.rtt(), heartbeat.smoothed_rtt()), (Some(rtt * MS), Some(smoothed * MS)));
        }
        assert_eq!(heartbeat.handle_answer(now + SEC), None, "it answers nothing");
    }

    #[test]
    fn none_beats_when_there_is_to_be_no_heartbeat() {
        let (heartbeat, _) = started(|config| config.interval = None);
        assert_eq!(heartbeat.poll_timeout(), None);
    }

    #[test]
    fn a_day_takes_milliseconds() {
        let (mut heartbeat, start) = started(|_| ());
        let mut beats = 0;
        while let Some(now) = heartbeat.poll_timeout()
            && now <= start + 24 * 3600 * SEC
        {
            assert_eq!(strike(&mut heartbeat, now), Some(HeartbeatOrder::Beat));
            assert_eq!(heartbeat.handle_answer(now + 40 * MS), Some(40 * MS));
            beats += 1;
        }
        assert_eq!(beats, 24 * 3600 / 25);
    }
}
