//! Times on a machine that others use, too: the processor's time of this thread, in many short rounds, interleaved, and their median.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long one subject works in one round.
const SLICE: Duration = Duration::from_millis(2);

/// The median time of one item for each of `subjects`, in nanoseconds. A subject is told how many items to do.
///
/// They take turns, so that what disturbs the machine for a while disturbs all of them.
pub fn medians(rounds: usize, subjects: &mut [Box<dyn FnMut(usize) + '_>]) -> Vec<f64> {
    let items: Vec<usize> = subjects.iter_mut().map(|subject| items_in_a_slice(subject)).collect();
    let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
    for _ in 0..rounds {
        for ((subject, &items), times) in subjects.iter_mut().zip(&items).zip(&mut times) {
            times.push(time(|| subject(items)).as_nanos() as f64 / items as f64);
        }
    }
    times.iter_mut().map(|times| median(times)).collect()
}

/// The middle of `values`; NaN of none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The processor's time that `work` takes: what others take of it meanwhile does not count.
fn time(work: impl FnOnce()) -> Duration {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    };
    let start = now();
    work();
    now() - start
}

fn items_in_a_slice(subject: &mut dyn FnMut(usize)) -> usize {
    let mut items = 1;
    loop {
        let elapsed = time(|| subject(items));
        if elapsed >= SLICE / 4 {
            let whole = items as f64 * SLICE.as_secs_f64() / elapsed.as_secs_f64();
            return (whole as usize).max(1);
        }
        items *= 2;
    }
}
