//! Machinery between two uses.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zlib_rs::Inflate;

use super::deflater::{Compressor, CompressorKind};

/// Where compressors and inflaters wait that no connection needs at the moment; clones share them.
///
/// All connections with clones of one [`DeflateConfig`](super::DeflateConfig) share one, across threads: it is locked for as long as it takes to put one thing
/// in or take one out. Two pools are equal when they are the same.
#[derive(Clone)]
pub struct DeflatePool(Arc<Shared>);

struct Shared {
    idle_max: usize,
    idle: Mutex<Idle>,
    totals: Totals,
}

/// What went through the machinery of a [`DeflatePool`], all connections and both roles together, in bytes of payload. Prepared messages count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateTotals {
    /// Of the messages that were compressed.
    pub deflated_len: u64,
    /// Of what that came to.
    pub deflated_wire_len: u64,
    /// Of what was inflated, as it came.
    pub inflated_wire_len: u64,
    /// Of the messages that this came to.
    pub inflated_len: u64,
}

#[derive(Default)]
struct Totals {
    deflated: AtomicU64,
    deflated_wire: AtomicU64,
    inflated_wire: AtomicU64,
    inflated: AtomicU64,
}

#[derive(Default)]
struct Idle {
    compressors: Vec<Compressor>,
    inflaters: Vec<Inflate>,
}

impl DeflatePool {
    /// Keeps at most `idle_max` compressors and as many inflaters; what more comes back is freed.
    ///
    /// With 0, every compressor is new, and the same calls give the same bytes. One that was used before may choose other matches, and so make
    /// other bytes of the same message, a little longer or shorter.
    ///
    /// By default 16, about 3.5 MB: as many as there are threads that use one at a time, on most machines.
    pub fn new(idle_max: usize) -> Self {
        Self(Arc::new(Shared { idle_max, idle: Mutex::default(), totals: Totals::default() }))
    }

    /// What has gone through it so far: to judge whether compression is worth it.
    pub fn totals(&self) -> DeflateTotals {
        let totals = &self.0.totals;
        let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
        DeflateTotals {
            deflated_len: load(&totals.deflated),
            deflated_wire_len: load(&totals.deflated_wire),
            inflated_wire_len: load(&totals.inflated_wire),
            inflated_len: load(&totals.inflated),
        }
    }

    pub(super) fn count_deflated(&self, len: usize, wire_len: usize) {
        self.0.totals.deflated.fetch_add(len as u64, Ordering::Relaxed);
        self.0.totals.deflated_wire.fetch_add(wire_len as u64, Ordering::Relaxed);
    }

    pub(super) fn count_inflated(&self, wire_len: usize, len: usize) {
        self.0.totals.inflated_wire.fetch_add(wire_len as u64, Ordering::Relaxed);
        self.0.totals.inflated.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// A compressor of that kind, at the start of a stream.
    pub(super) fn take_compressor(&self, kind: CompressorKind) -> Compressor {
        let mut idle = self.idle();
        let at = idle.compressors.iter().rposition(|compressor| compressor.kind() == kind);
        let found = at.map(|at| idle.compressors.remove(at));
        drop(idle);
        match found {
            Some(mut compressor) => {
                compressor.reset();
                compressor
            }
            None => Compressor::new(kind),
        }
    }

    pub(super) fn put_compressor(&self, mut compressor: Compressor) {
        compressor.shrink();
        let mut idle = self.idle();
        idle.compressors.push(compressor);
        // The one that waited longest may be of a kind that nobody asks for any more.
        let dropped = (idle.compressors.len() > self.0.idle_max).then(|| idle.compressors.remove(0));
        drop(idle);
        drop(dropped);
    }

    /// An inflater at the start of a stream, whose window is as large as windows get.
    pub(super) fn take_inflater(&self) -> Inflate {
        let found = self.idle().inflaters.pop();
        match found {
            Some(mut inflater) => {
                inflater.reset(false);
                inflater
            }
            None => Inflate::new(false, super::config::WINDOW_BITS_MAX),
        }
    }

    pub(super) fn put_inflater(&self, inflater: Inflate) {
        let mut idle = self.idle();
        if idle.inflaters.len() < self.0.idle_max {
            idle.inflaters.push(inflater);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for DeflatePool {
    fn default() -> Self {
        Self::new(16)
    }
}

impl PartialEq for DeflatePool {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for DeflatePool {}

impl fmt::Debug for DeflatePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle();
        f.debug_struct("DeflatePool")
            .field("idle_max", &self.0.idle_max)
            .field("compressors", &idle.compressors.len())
            .field("inflaters", &idle.inflaters.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(window_bits: u8) -> CompressorKind {
        CompressorKind { level: 2, memory_level: 1, window_bits }
    }

    #[test]
    fn what_comes_back_is_used_again_up_to_the_limit() {
        for idle_max in [0, 1, 2] {
            let pool = DeflatePool::new(idle_max);
            for _ in 0..idle_max + 1 {
                pool.put_compressor(Compressor::new(kind(9)));
                pool.put_inflater(Inflate::new(false, 15));
            }
            let held = format!("{pool:?}");
            assert!(held.contains(&format!("compressors: {idle_max}, inflaters: {idle_max}")), "{held}");
            pool.take_inflater();
            pool.take_compressor(kind(9));
            pool.take_compressor(kind(10));
            let left = idle_max.saturating_sub(1);
            let held = format!("{pool:?}");
            assert!(held.contains(&format!("compressors: {left}, inflaters: {left}")), "{held}");
        }
    }

    #[test]
    fn a_kind_that_nobody_asks_for_gives_way() {
        let pool = DeflatePool::new(1);
        pool.put_compressor(Compressor::new(kind(9)));
        pool.put_compressor(Compressor::new(kind(10)));
        assert_eq!(pool.idle().compressors[0].kind(), kind(10));
    }
}
