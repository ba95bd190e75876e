//! From DEFLATE data to messages, in steps, each of which fills what room it is given. RFC 7692 section 7.2.2.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::history::History;
use super::{DeflatePool, TAIL};

/// What one end inflates with, and what it has received.
pub(crate) struct Inflater {
    /// What the next block may refer to.
    history: History,
    no_context_takeover: bool,
    /// One that has seen the history; absent while idle.
    inflate: Option<Inflate>,
    mid_message: bool,
}

/// What one step did.
pub(crate) struct Inflated {
    pub(crate) consumed: usize,
    /// Less than there was room for means that nothing more is to come of the input, but behind a final block.
    pub(crate) produced: usize,
    /// Behind a final block, how many bytes of the window had to be copied for what may follow. A block that comes to nothing takes two bytes,
    /// so that has to be counted as work.
    pub(crate) restarted: Option<usize>,
    /// Whether what follows is no DEFLATE data; what came before it counts.
    pub(crate) is_corrupt: bool,
}

/// A message that ends inside a block.
#[derive(Debug)]
pub(crate) struct Corrupt;

impl Inflater {
    pub(crate) fn new(window_bits: u8, no_context_takeover: bool) -> Self {
        Self { history: History::new(window_bits), no_context_takeover, inflate: None, mid_message: false }
    }

    /// Inflates what of `input` comes to as much as `output` has room for, up to the end of a final block.
    pub(crate) fn inflate(&mut self, pool: &DeflatePool, input: &[u8], output: &mut [u8]) -> Inflated {
        self.mid_message = true;
        let done = self.step(pool, input, output);
        pool.count_inflated(done.consumed, done.produced);
        done
    }

    fn step(&mut self, pool: &DeflatePool, input: &[u8], output: &mut [u8]) -> Inflated {
        let inflate = self.inflate.get_or_insert_with(|| primed(pool.take_inflater(), &mut self.history));
        let (consumed, produced) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, output, InflateFlush::SyncFlush);
        let consumed = inflate.total_in().saturating_sub(consumed) as usize;
        let produced = inflate.total_out().saturating_sub(produced) as usize;
        self.history.push(output.get(..produced).unwrap_or_default());
        let restarted = (status == Ok(Status::StreamEnd)).then(|| {
            // A final block: what follows is a new stream with the same window. RFC 7692 section 7.2.3.4.
            inflate.reset(false);
            prime(inflate, &mut self.history)
        });
        Inflated { consumed, produced, restarted, is_corrupt: status.is_err() }
    }

    /// The message is over; all that its data comes to has been inflated.
    pub(crate) fn finish(&mut self, pool: &DeflatePool) -> Result<(), Corrupt> {
        // A message ends at the header of an empty block, to which this is the rest, and nothing comes of it. At the end of that
        // block this stops; inside any other, the byte behind it would be taken, too.
        let [a, b, c, d] = TAIL;
        let input = [a, b, c, d, 0];
        let inflate = self.inflate.get_or_insert_with(|| primed(pool.take_inflater(), &mut self.history));
        let (consumed, produced) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(&input, &mut [0; 1], InflateFlush::Block).map_err(|_| Corrupt)?;
        let consumed = inflate.total_in().checked_sub(consumed);
        if status != Status::Ok || consumed != Some(TAIL.len() as u64) || inflate.total_out() != produced {
            return Err(Corrupt);
        }
        self.mid_message = false;
        if self.no_context_takeover {
            self.history.clear();
            self.give_back(pool);
        }
        Ok(())
    }

    /// Gives the machinery back, unless a message is under way, and keeps what the next message may refer to.
    pub(crate) fn release(&mut self, pool: &DeflatePool) {
        if self.mid_message {
            return;
        }
        self.give_back(pool);
        self.history.trim();
    }

    /// The connection is over.
    pub(crate) fn retire(mut self, pool: &DeflatePool) {
        self.give_back(pool);
    }

    fn give_back(&mut self, pool: &DeflatePool) {
        if let Some(inflate) = self.inflate.take() {
            pool.put_inflater(inflate);
        }
    }
}

fn primed(mut inflate: Inflate, history: &mut History) -> Inflate {
    prime(&mut inflate, history);
    inflate
}

/// At the start of a stream, lets matches refer to what went before; returns how much that is.
fn prime(inflate: &mut Inflate, history: &mut History) -> usize {
    let window = history.window();
    if !window.is_empty() {
        // Always taken where there is no header to name another one; and if not, a match that needs it is corrupt.
        let _ = inflate.set_dictionary(window);
    }
    window.len()
}
