//! What the benches share: interleaved rounds, instruction counts by callgrind, tables, plots.

mod callgrind;
mod counting;
mod plot;
mod table;
mod time;

pub use callgrind::{GLIBC_TUNABLES, count_instructions, counted_work, total_instructions};
pub use counting::{Counting, count_allocations, held_bytes};
pub use plot::{Panel, Series, plot};
pub use table::Table;
pub use time::{median, medians};
