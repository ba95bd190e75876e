//! Holds that what reads a peer's bytes takes time in proportion to their number.

use std::time::Duration;

/// Runs `work` on what `make` makes of a count, and of eight times that: where time is linear the second takes eight times as long, where it is
/// quadratic 64 times. The shortest of some runs is what the work takes, and not what else the machine does.
pub(super) fn assert_linear<T>(name: &str, make: impl Fn(usize) -> T, work: impl Fn(&T, usize)) {
    let (few, many) = (make(FEW), make(8 * FEW));
    let (mut short, mut long) = (Duration::MAX, Duration::MAX);
    for run in 0..RUNS_MAX {
        short = short.min(time(|| work(&few, FEW)));
        long = long.min(time(|| work(&many, 8 * FEW)));
        if run >= RUNS_MIN && long < 24 * short {
            return;
        }
    }
    panic!("{name}: {short:?} for {FEW}, {long:?} for eight times as many");
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = now();
    work();
    now() - begun
}

/// Of this thread, where that can be had: other threads need not keep it from its work.
#[cfg(target_os = "linux")]
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(not(target_os = "linux"))]
fn now() -> Duration {
    static BEGINNING: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    BEGINNING.elapsed()
}

/// So many that a quadratic part outweighs the rest.
const FEW: usize = 1024;
const RUNS_MIN: usize = 3;
const RUNS_MAX: usize = 20;

#[test]
fn what_is_quadratic_is_found() {
    let searches_all_for_each = |bytes: &Vec<u8>, n| assert_eq!((0..n).filter(|_| bytes.contains(&1)).count(), 0);
    let held = std::panic::catch_unwind(|| assert_linear("all for each", |n| vec![0; n], searches_all_for_each));
    assert!(held.is_err());
}
