//! Which of several clients takes a message.

use super::ClientState;

/// Spreads messages over several clients: to each in turn, or by key, by how far each of them is.
///
/// It holds no client: those may live in as many tasks or threads. It is told how far they are, and answers with the place of one in whatever
/// list they stand.
///
/// ```
/// use sansocket::client::{ClientState, Pool};
///
/// let mut pool = Pool::new(3);
/// pool.set_state(0, ClientState::Open);
/// pool.set_state(2, ClientState::Open);
/// assert_eq!([pool.pick(), pool.pick(), pool.pick()], [Some(0), Some(2), Some(0)]);
///
/// // All that concerns one room goes one way, and in order, even while that one is away: it has a queue.
/// let place = pool.pick_by_key(b"room 7");
/// pool.set_state(place.unwrap(), ClientState::Waiting);
/// assert_eq!(pool.pick_by_key(b"room 7"), place);
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    states: Vec<ClientState>,
    /// Where the next turn begins.
    next: usize,
}

impl Pool {
    /// For `len` clients, which are about to connect.
    pub fn new(len: usize) -> Self {
        Self { states: vec![ClientState::Waiting; len], next: 0 }
    }

    /// Notes how far a client is; nothing if there is none in this place.
    pub fn set_state(&mut self, place: usize, state: ClientState) {
        if let Some(present) = self.states.get_mut(place) {
            *present = state;
        }
    }

    /// How far the clients are.
    pub fn states(&self) -> &[ClientState] {
        &self.states
    }

    /// How many are open.
    pub fn open_len(&self) -> usize {
        self.states.iter().filter(|state| **state == ClientState::Open).count()
    }

    /// The one whose turn it is: of the open ones; if there is none, of those that may be open again. `None` when all are closing or closed.
    #[expect(clippy::arithmetic_side_effects, reason = "`place` is below `len`")]
    pub fn pick(&mut self) -> Option<usize> {
        let len = self.states.len();
        let turn = |is: fn(ClientState) -> bool| {
            let mut places = self.states.iter().enumerate().cycle().skip(self.next).take(len);
            places.find(|(_, state)| is(**state)).map(|(place, _)| place)
        };
        let place = turn(|state| state == ClientState::Open).or_else(|| turn(takes_messages))?;
        self.next = (place + 1) % len;
        Some(place)
    }

    /// The one for this key: always the same as long as it takes messages, open or not, whatever becomes of the others. `None` when all are
    /// closing or closed.
    pub fn pick_by_key(&self, key: &[u8]) -> Option<usize> {
        // Rendezvous hashing: when one goes, only its keys move, and to all others alike.
        let places = self.states.iter().enumerate().filter(|(_, state)| takes_messages(**state));
        places.map(|(place, _)| place).max_by_key(|place| weight(key, *place))
    }
}

fn takes_messages(state: ClientState) -> bool {
    !matches!(state, ClientState::Closing | ClientState::Closed)
}

/// FNV-1a, and the end of SplitMix64 to spread it. It must not change: processes may have to agree.
fn weight(key: &[u8], place: usize) -> u64 {
    let hash =
        key.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    let mut mixed = hash ^ (place as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientState::{Closed, Closing, Connecting, Open, Waiting};

    fn pool(states: &[ClientState]) -> Pool {
        let mut pool = Pool::new(states.len());
        states.iter().enumerate().for_each(|(place, state)| pool.set_state(place, *state));
        pool
    }

    #[test]
    fn each_has_its_turn_the_open_ones_first() {
        let cases: [(&[ClientState], [Option<usize>; 4]); 6] = [
            (&[Open, Open, Open], [Some(0), Some(1), Some(2), Some(0)]),
            (&[Open, Waiting, Open], [Some(0), Some(2), Some(0), Some(2)]),
            (&[Closed, Waiting, Connecting], [Some(1), Some(2), Some(1), Some(2)]),
            (&[Closing, Open, Closed], [Some(1); 4]),
            (&[Closing, Closed], [None; 4]),
            (&[], [None; 4]),
        ];
        for (states, expected) in cases {
            let mut pool = pool(states);
            assert_eq!([(); 4].map(|()| pool.pick()), expected, "{states:?}");
            assert_eq!(pool.open_len(), states.iter().filter(|state| **state == Open).count());
        }
        assert_eq!(Pool::new(0).pick_by_key(b"a"), None);
        assert_eq!(pool(&[Closed, Closing]).pick_by_key(b"a"), None);
    }

    #[test]
    fn keys_are_spread_evenly_and_move_only_when_theirs_is_gone() {
        let keys: Vec<_> = (0..10_000).map(|key| format!("room {key}")).collect();
        let mut all = pool(&[Open; 5]);
        let before: Vec<_> = keys.iter().map(|key| all.pick_by_key(key.as_bytes()).unwrap()).collect();
        for place in 0..5 {
            let share = before.iter().filter(|at| **at == place).count();
            assert!((1_800..=2_200).contains(&share), "five standard deviations: {share}");
        }
        all.set_state(1, Waiting);
        all.set_state(3, Closed);
        for (key, before) in keys.iter().zip(before) {
            let after = all.pick_by_key(key.as_bytes()).unwrap();
            assert!(after == before || before == 3, "{key}");
            assert_ne!(after, 3);
        }
    }

    /// Another version must not send the same key elsewhere.
    #[test]
    fn the_way_of_a_key_stays_what_it_is() {
        let pool = Pool::new(7);
        let places: Vec<_> =
            ["", "a", "b", "room 7"].iter().map(|key| pool.pick_by_key(key.as_bytes()).unwrap()).collect();
        assert_eq!(places, [3, 5, 0, 1]);
    }

    #[test]
    fn the_weights_are_those_of_every_other_process() {
        let weights =
            [(&b""[..], 0), (b"user 1", 0), (b"user 1", 1), (b"\xff", 1000)].map(|(key, place)| weight(key, place));
        assert_eq!(
            weights,
            [0xE9D3_2759_6B86_9820, 0xDCB5_6978_A827_2AA4, 0xD05C_9043_B742_916E, 0xC212_0680_7F84_0C1A]
        );
        let pool = pool(&[Open, Waiting]);
        assert_eq!(pool.states(), [Open, Waiting]);
    }
}
