//! How long to wait before the next attempt to connect. RFC 6455 section 7.2.3.

use std::time::{Duration, Instant};

use crate::connection::Keystream;

/// How a [`Backoff`] waits, and when it gives up.
///
/// RFC 6455 section 7.2.3 wants a random first delay, "between 0 and 5 seconds" for example, and truncated exponential backoff behind it, so
/// that the clients of a server that restarts do not come back all at once. The default does just that. Start from it and change what
/// differs:
///
/// ```
/// use sansocket::client::{BackoffConfig, Jitter};
/// use std::time::Duration;
///
/// let mut config = BackoffConfig::default();
/// config.first = Duration::from_millis(500);
/// config.jitter = Jitter::Equal;
/// config.attempts_max = Some(10);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackoffConfig {
    /// The delay before the first attempt of a series, before jitter.
    ///
    /// 5 s: the RFC's example.
    pub first: Duration,

    /// By how much each delay is longer than the one before; less than 1 counts as 1.
    ///
    /// 2: the usual exponential backoff.
    pub factor: f64,

    /// The longest delay, before jitter.
    ///
    /// 60 s: with full jitter, a server that was away for long sees each of its clients every half minute, and has them all back in one.
    pub cap: Duration,

    /// What is random about a delay.
    ///
    /// Full: it spreads the attempts of many clients most evenly.
    pub jitter: Jitter,

    /// How many attempts in a row may fail until it gives up; 0 or `None` for ever. One whose connection did not last for `uptime_min` has failed, too.
    ///
    /// Never: whoever is offline for a night wants to be online in the morning.
    pub attempts_max: Option<u32>,

    /// How long a series of attempts may take, from the first loss; an attempt that would begin later is not made.
    ///
    /// For ever, as above.
    pub time_max: Option<Duration>,

    /// How long a connection must have been open for the next series to start from the beginning.
    ///
    /// 10 s: a server that accepts, and fails on the first message, is no better than one that refuses.
    pub uptime_min: Duration,

    /// The longest that a server's `Retry-After` is followed.
    ///
    /// 5 minutes: long enough for a restart, and short enough for a mistake.
    pub retry_after_max: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            factor: 2.0,
            cap: Duration::from_secs(60),
            jitter: Jitter::Full,
            attempts_max: None,
            time_max: None,
            uptime_min: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(300),
        }
    }
}

/// How much of a delay is random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// All of it: from nothing to the whole delay.
    #[default]
    Full,
    /// Half of it: from half the delay to the whole.
    Equal,
    /// Nothing. All clients of one server come back at the same moments.
    None,
}

/// Delays that grow with each failure in a row, drawn anew each time.
///
/// ```
/// use sansocket::client::{Backoff, BackoffConfig};
/// use std::time::{Duration, Instant};
///
/// let mut now = Instant::now();
/// let mut backoff = Backoff::new(BackoffConfig::default(), [7; 32]); // the seed comes from the OS in real life
/// for longest in [5, 10, 20, 40, 60, 60] {
///     let delay = backoff.failed(now, None).expect("it never gives up unless told to");
///     assert!(delay <= Duration::from_secs(longest));
///     now += delay;
/// }
/// ```
///
/// # A server that 100,000 clients lose at once
///
/// The most attempts that it meets within one second (*peak*), and how long it takes until all are back: if it takes them at once, and if it
/// refuses all for a minute. `tests/herd.rs` computes it.
///
/// | jitter | takes them at once: peak | all back after | away for a minute: peak | peak from then on | all back after another |
/// |---|--:|--:|--:|--:|--:|
/// | full (the default) | 20,172 | 5 s | 30,207 | 3,251 | 60 s |
/// | equal | 40,130 | 5 s | 40,130 | 4,726 | 60 s |
/// | none | 100,000 | 5 s | 100,000 | 100,000 | 15 s |
pub struct Backoff {
    config: BackoffConfig,
    keystream: Keystream,
    /// Delays in a row.
    failures: u32,
    /// Attempts in a row that did not lead to a lasting connection: one less, if a lasting one was lost before them.
    attempts: u32,
    /// When the first of them failed.
    since: Option<Instant>,
    open_since: Option<Instant>,
}

impl Backoff {
    /// Begins a series. `seed` is the randomness of the jitter: it must differ between clients.
    pub fn new(config: BackoffConfig, seed: [u8; 32]) -> Self {
        Self { config, keystream: Keystream::new(seed), failures: 0, attempts: 0, since: None, open_since: None }
    }

    /// The connection is open. Whether that ends the series, its uptime tells.
    pub fn opened(&mut self, now: Instant) {
        self.open_since = Some(now);
    }

    /// An attempt failed, or the connection was lost: how long to wait before the next attempt, `None` to give up.
    ///
    /// What the server asked for by `Retry-After` is added before the jitter's share, up to the cap for it: all whom it told the same
    /// would otherwise be back at the same time.
    pub fn failed(&mut self, now: Instant, retry_after: Option<Duration>) -> Option<Duration> {
        let uptime = self.open_since.take().map(|since| now.saturating_duration_since(since));
        if uptime.is_some_and(|uptime| uptime >= self.config.uptime_min) {
            self.reset();
        } else {
            self.attempts = self.attempts.saturating_add(1);
        }
        let since = *self.since.get_or_insert(now);
        if self.config.attempts_max.is_some_and(|max| max > 0 && self.attempts >= max) {
            return None;
        }
        let asked = retry_after.unwrap_or_default().min(self.config.retry_after_max);
        let delay = self.draw().saturating_add(asked);
        self.failures = self.failures.saturating_add(1);
        let begins = now.saturating_duration_since(since).saturating_add(delay);
        self.config.time_max.is_none_or(|max| begins <= max).then_some(delay)
    }

    /// Ends the series: the next failure is its first.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.attempts = 0;
        self.since = None;
        self.open_since = None;
    }

    /// How many delays the series has had.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A delay for the next attempt.
    #[expect(clippy::arithmetic_side_effects, reason = "two halves are no more than the whole")]
    fn draw(&mut self) -> Duration {
        let nominal = self.nominal();
        match self.config.jitter {
            Jitter::Full => self.up_to(nominal),
            Jitter::Equal => nominal / 2 + self.up_to(nominal - nominal / 2),
            Jitter::None => nominal,
        }
    }

    fn nominal(&self) -> Duration {
        // `max` takes the other one of a NaN.
        let growth = self.config.factor.max(1.0).powf(f64::from(self.failures));
        let seconds = self.config.first.as_secs_f64() * growth;
        Duration::try_from_secs_f64(seconds).unwrap_or(self.config.cap).min(self.config.cap)
    }

    #[expect(clippy::arithmetic_side_effects, reason = "(2⁶⁴ - 1) × 2⁶⁴ fits in 128 bits")]
    fn up_to(&mut self, max: Duration) -> Duration {
        let random = u64::from_le_bytes(self.keystream.take());
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(random) * (u128::from(nanos) + 1)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn config(change: impl FnOnce(&mut BackoffConfig)) -> BackoffConfig {
        let mut config = BackoffConfig { jitter: Jitter::None, ..BackoffConfig::default() };
        change(&mut config);
        config
    }

    fn delays(config: BackoffConfig, count: usize) -> Vec<Option<u64>> {
        let (mut backoff, mut now) = (Backoff::new(config, [1; 32]), Instant::now());
        let mut next = || {
            let delay = backoff.failed(now, None);
            now += delay.unwrap_or_default();
            delay.map(|delay| delay.as_millis() as u64)
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        assert_eq!(delays(config(|_| ()), 6), [5000, 10_000, 20_000, 40_000, 60_000, 60_000].map(Some));
        assert_eq!(delays(config(|config| config.factor = 1.5), 3), [5000, 7500, 11_250].map(Some));
        for factor in [0.5, 1.0, -3.0, f64::NAN] {
            assert_eq!(delays(config(|config| config.factor = factor), 3), [5000; 3].map(Some), "{factor}");
        }
        assert_eq!(delays(config(|config| config.factor = f64::INFINITY), 2), [5000, 60_000].map(Some));
        let huge = config(|config| (config.first, config.cap) = (Duration::MAX, Duration::MAX));
        assert!(
            Backoff::new(BackoffConfig { jitter: Jitter::Full, ..huge }, [1; 32])
                .failed(Instant::now(), None)
                .is_some()
        );
    }

    #[test]
    fn a_million_failures_in_a_row_stay_at_the_cap() {
        let mut backoff = Backoff::new(config(|_| ()), [1; 32]);
        backoff.failures = u32::MAX - 1;
        for _ in 0..3 {
            assert_eq!(backoff.failed(Instant::now(), None), Some(60 * SEC));
        }
    }

    #[test]
    fn it_gives_up_after_so_many_attempts_or_so_much_time() {
        for forever in [None, Some(0)] {
            assert!(delays(config(|config| config.attempts_max = forever), 100).iter().all(Option::is_some));
        }
        let three = delays(config(|config| config.attempts_max = Some(3)), 4);
        assert_eq!(three, [Some(5000), Some(10_000), None, None]);
        // The third attempt would begin 5 + 10 + 20 s after the first loss.
        for (budget, attempts) in [(34_999, 2), (35_000, 3), (35_001, 3)] {
            let budget = Some(Duration::from_millis(budget));
            let made = delays(config(|config| config.time_max = budget), 5).iter().flatten().count();
            assert_eq!(made, attempts, "{budget:?}");
        }
    }

    /// The attempt that led to it has not failed.
    #[test]
    fn a_lasting_connection_is_no_failed_attempt() {
        for (uptime, delays) in [(9_999, 0), (10_000, 1), (10_001, 1)] {
            let mut now = Instant::now();
            let mut backoff = Backoff::new(config(|config| config.attempts_max = Some(1)), [1; 32]);
            backoff.opened(now);
            now += Duration::from_millis(uptime);
            let made = std::iter::from_fn(|| backoff.failed(now, None)).count();
            assert_eq!(made, delays, "{uptime}");
        }
    }

    #[test]
    fn only_a_connection_that_lasted_ends_the_series() {
        for (uptime, delay) in [(9_999, 40), (10_000, 5), (10_001, 5)] {
            let mut now = Instant::now();
            let mut backoff = Backoff::new(config(|_| ()), [1; 32]);
            for _ in 0..3 {
                backoff.failed(now, None);
            }
            backoff.opened(now);
            now += Duration::from_millis(uptime);
            assert_eq!(backoff.failed(now, None), Some(delay * SEC), "{uptime}");
        }
    }

    #[test]
    fn retry_after_is_added_up_to_its_cap() {
        for (asked, followed) in [(0, 0), (7, 7), (299, 299), (300, 300), (301, 300), (u64::MAX, 300)] {
            let mut backoff = Backoff::new(config(|_| ()), [1; 32]);
            let delay = backoff.failed(Instant::now(), Some(Duration::from_secs(asked)));
            assert_eq!(delay, Some((5 + followed) * SEC), "{asked}");
        }
    }

    /// Of 40,000 delays, each tenth of the range gets its share: 10 % off would be more than six standard deviations.
    #[test]
    fn jitter_is_spread_evenly_over_its_range() {
        for (jitter, low) in [(Jitter::Full, 0.0), (Jitter::Equal, 2.5)] {
            let config = config(|config| (config.jitter, config.factor) = (jitter, 1.0));
            let (mut backoff, now) = (Backoff::new(config, [9; 32]), Instant::now());
            let mut tenths = [0; 10];
            for _ in 0..40_000 {
                let delay = backoff.failed(now, None).unwrap().as_secs_f64();
                assert!((low..=5.0).contains(&delay), "{delay}");
                tenths[(((delay - low) / (5.0 - low) * 10.0) as usize).min(9)] += 1;
            }
            assert!(tenths.iter().all(|share| (3_600..=4_400).contains(share)), "{jitter:?} {tenths:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_another_one_others() {
        let draw = |seed| {
            let mut backoff = Backoff::new(BackoffConfig::default(), [seed; 32]);
            let now = Instant::now();
            [0; 8].map(|_| backoff.failed(now, None))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
