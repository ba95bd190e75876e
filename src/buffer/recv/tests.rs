use super::*;
use proptest::prelude::*;

fn filled(bytes: &[u8]) -> RecvBuf {
    let mut buf = RecvBuf::with_read_size(64);
    buf.extend_from_slice(bytes);
    buf
}

#[test]
fn fragments_are_joined_over_what_stood_between_them() {
    let mut buf = filled(b"..abc....def.ghi");
    buf.skip(2);
    assert_eq!(buf.join(3, MessageKind::Binary, [0; 4]), 3);
    buf.skip(4);
    assert_eq!(buf.join(3, MessageKind::Binary, [0; 4]), 3);
    assert_eq!(buf.lend_unread(1), b".");
    assert_eq!(buf.take_payload(), ".");
    assert_eq!(buf.join(100, MessageKind::Binary, [0; 4]), 3);
    buf.lend_message(0);
    assert_eq!(buf.lent(), b"abcdefghi");
    assert!(buf.is_empty());
    assert_eq!(buf.take_payload(), "abcdefghi");
    assert_eq!(buf.take_payload(), "");
}

#[test]
fn memory_follows_what_was_received() {
    let mut buf = RecvBuf::new();
    assert_eq!(buf.capacity(), 0);
    let mut received = 0;
    while received < 10_000_000 {
        let n = buf.spare_mut().len();
        assert!((1..=READ_SIZE).contains(&n));
        buf.advance_received(n);
        buf.join(n, MessageKind::Text, [0; 4]);
        received += n;
        assert!(buf.capacity() <= 2 * received + READ_SIZE, "{received} received, {} held", buf.capacity());
    }
}

#[test]
fn a_read_is_offered_64_bytes_to_16_mi() {
    const MI: usize = 1024 * 1024;
    for (read_size, offered) in [
        (0, 64),
        (63, 64),
        (64, 64),
        (65, 65),
        (16 * MI - 1, 16 * MI - 1),
        (16 * MI, 16 * MI),
        (16 * MI + 1, 16 * MI),
        (usize::MAX, 16 * MI),
    ] {
        assert_eq!(RecvBuf::with_read_size(read_size).spare_mut().len(), offered, "{read_size}");
    }
}

#[test]
fn a_read_is_offered_a_quarter_of_the_read_size_at_least() {
    for (unread, offered, capacity) in [(767, 257, 1024), (768, 256, 1024), (769, 1024, 2048)] {
        let mut buf = RecvBuf::with_read_size(1024);
        buf.extend_from_slice(&vec![7; unread]);
        assert_eq!((buf.spare_mut().len(), buf.capacity()), (offered, capacity), "{unread} unread");
    }
}

#[test]
fn what_fits_is_appended_without_growing() {
    for (len, capacity) in [(23, 1024), (24, 1024), (25, 2048)] {
        let mut buf = RecvBuf::with_read_size(1024);
        buf.extend_from_slice(&[7; 1000]);
        buf.extend_from_slice(&vec![7; len]);
        assert_eq!((buf.unread(), buf.capacity()), (&[7; 1025][..1000 + len], capacity), "{len} more");
    }
}

/// So that all moves together cost no more than the reads, and no memory is taken that need not be.
#[test]
fn it_doubles_when_more_than_half_is_left_and_reuses_what_is_dead_otherwise() {
    for (received, left, capacity) in [
        (2048, 1023, 2048),
        (2048, 1024, 2048),
        (2048, 1025, 4096),
        (1024, 511, 1535), // has no place for a read, dead or not
        (1024, 512, 1536),
        (1024, 513, 2048),
    ] {
        let mut buf = RecvBuf::with_read_size(1024);
        buf.extend_from_slice(&vec![7; received]);
        buf.skip(received - left);
        assert!(buf.spare_mut().len() >= 1023, "{left} left of {received}");
        assert_eq!((buf.capacity(), buf.unread().len()), (capacity, left), "{left} left of {received}");
    }
}

#[test]
fn what_is_left_is_moved_when_it_is_little_beside_what_is_dead() {
    for (dead, offered) in [(159, 855), (160, 1014), (161, 1014)] {
        let mut buf = RecvBuf::with_read_size(1024);
        buf.extend_from_slice(&vec![7; dead + 10]);
        buf.skip(dead);
        assert_eq!(buf.spare_mut().len(), offered, "{dead} dead");
        assert_eq!(buf.unread(), [7; 10]);
    }
}

#[test]
fn a_message_that_is_released_after_each_read_is_moved_a_bounded_number_of_times() {
    let mut buf = RecvBuf::with_read_size(64);
    let mut moved = 0;
    while buf.len() < 100_000 {
        let before = buf.storage.as_ptr();
        let n = buf.spare_mut().len();
        let between = buf.storage.as_ptr();
        assert!(n > 0);
        moved += if between == before { 0 } else { buf.len() };
        buf.advance_received(n);
        buf.join(n, MessageKind::Binary, [0; 4]);
        buf.release();
        moved += if buf.storage.as_ptr() == between { 0 } else { buf.len() };
    }
    assert!(moved <= 2 * buf.len(), "{moved} bytes moved for {}", buf.len());
}

/// So that the next frame begins at the front, and no part of it is ever moved.
#[test]
fn in_the_middle_of_a_long_frame_a_read_is_offered_no_more_than_its_rest() {
    let mut buf = RecvBuf::with_read_size(1024);
    for (awaited, offered) in [(0, 1024), (255, 1024), (256, 256), (1023, 1023), (1024, 1024), (u64::MAX, 1024)] {
        buf.set_awaited(awaited);
        assert_eq!(buf.spare_mut().len(), offered, "{awaited} awaited");
    }
    buf.set_awaited(1000);
    buf.spare_mut();
    buf.advance_received(700);
    assert_eq!(buf.spare_mut().len(), 300);
    buf.advance_received(5000);
    assert_eq!(buf.unread().len(), 1000);
    assert_eq!(buf.spare_mut().len(), 1024);
}

#[test]
fn a_spike_is_given_back_after_some_small_rounds_or_at_once() {
    let mut buf = filled(&[7; 100_000]);
    buf.skip(100_000);
    let mut rounds = 0;
    while buf.capacity() > 1000 {
        buf.spare_mut();
        buf.advance_received(10);
        buf.skip(10);
        rounds += 1;
        assert!(rounds < 100, "never shrinks");
    }
    assert!(rounds > 10, "shrinks in {rounds} rounds, too eager for a steady sender of large messages");

    let mut buf = filled(&[7; 100_000]);
    buf.skip(99_990);
    buf.release();
    assert_eq!((buf.capacity(), buf.unread()), (10, &[7; 10][..]));
    buf.skip(10);
    buf.release();
    assert_eq!(buf.capacity(), 0);
}

#[test]
fn only_what_is_much_larger_than_a_read_and_than_what_is_used_of_it_is_given_back() {
    for (capacity, used, is_given_back) in
        [(255, 1, false), (256, 1, false), (257, 1, true), (1024, 255, true), (1024, 256, false), (1024, 257, false)]
    {
        let mut buf = filled(&vec![7; capacity]);
        buf.skip(capacity);
        assert_eq!(buf.capacity(), capacity);
        for _ in 0..100 {
            buf.extend_from_slice(&vec![7; used]);
            buf.skip(used);
        }
        assert_eq!(buf.capacity() < capacity, is_given_back, "{used} of {capacity} used");
    }
}

/// Control frames between fragments leave a gap, which is not what is left.
#[test]
fn a_gap_is_given_back() {
    let mut buf = filled(b"x");
    buf.join(1, MessageKind::Text, [0; 4]);
    for _ in 0..10_000 {
        buf.extend_from_slice(&[0; 99]);
        buf.skip(90);
        assert!(buf.lend_unread(8).len() == 8 && buf.len() == 2);
        assert!(buf.capacity() < 1000, "{} bytes for {}", buf.capacity(), buf.len());
        buf.skip(1);
    }
    buf.release();
    assert_eq!(buf.capacity(), 1);
}

/// What is left of an allocation after a payload was split off does not hide how large it is.
#[test]
fn the_rest_of_a_large_allocation_is_given_back_too() {
    let mut buf = RecvBuf::new();
    buf.extend_from_slice(&[7; 1_000_000]);
    buf.lend_unread(990_000);
    assert_eq!(buf.take_payload().len(), 990_000);
    for round in 0.. {
        let n = buf.unread().len();
        buf.skip(n);
        buf.spare_mut();
        buf.advance_received(10);
        if buf.capacity() <= 4 * READ_SIZE {
            break;
        }
        assert!(round < 100, "never shrinks");
    }
}

#[test]
fn what_is_taken_pins_at_most_four_times_its_size() {
    for len in [1, 100, 1023, 1024, 1025, 2000] {
        let mut buf = RecvBuf::with_read_size(4096);
        let n = buf.spare_mut().len();
        let before = buf.storage.as_ptr();
        buf.advance_received(n);
        buf.lend_unread(len);
        let taken = buf.take_payload();
        assert_eq!(taken.len(), len);
        assert_eq!(taken.as_ptr() == before, len >= 1024, "{len} bytes");
        assert_eq!(buf.unread().len(), n - len);
    }
}

#[test]
fn one_buffer_reads_for_many() {
    let mut own = filled(b"..abc.def");
    own.skip(2);
    own.join(3, MessageKind::Text, [0; 4]);
    own.skip(1);
    own.release();
    let mut shared = filled(b"old");
    shared.take_over(&mut own);
    assert!(own.is_empty());
    own.release();
    assert_eq!(own.capacity(), 0);
    shared.extend_from_slice(b"ghi");
    shared.join(6, MessageKind::Text, [0; 4]);
    shared.lend_message(0);
    assert_eq!(shared.lent(), b"abcdefghi");
}

#[cfg(feature = "deflate")]
fn inflating(len: usize) -> RecvBuf {
    let mut buf = filled(b"");
    let (_, room) = buf.inflate(0, 1000);
    assert!(room.len() >= len);
    buf.advance_inflated(0, len);
    buf
}

#[cfg(feature = "deflate")]
#[test]
fn the_capacity_is_that_of_both_allocations() {
    let mut buf = inflating(1);
    let inflated = buf.capacity();
    assert!(inflated > 0);
    buf.extend_from_slice(b"x");
    assert_eq!(buf.capacity(), inflated + 64);
}

#[cfg(feature = "deflate")]
#[test]
fn a_compressed_message_is_taken_over_and_room_for_one_is_kept() {
    for (own, other) in [(0, 0), (0, 9), (9, 0), (8, 9)] {
        let (mut shared, mut idle) = (inflating(own), inflating(other));
        shared.take_over(&mut idle);
        assert_eq!((shared.len(), idle.len()), (other, 0), "{own}, {other}");
    }
    let mut shared = inflating(0);
    let capacity = shared.capacity();
    shared.take_over(&mut filled(b""));
    assert_eq!(shared.capacity(), capacity, "for the next message, of whichever connection");
}

#[test]
fn a_long_ascii_text_is_known_to_be_text_once_it_is_unmasked() {
    for (len, kind, is_known) in [
        (VECTOR_LEN_MIN, MessageKind::Text, true),
        (VECTOR_LEN_MIN + 1, MessageKind::Text, true),
        (VECTOR_LEN_MIN, MessageKind::Binary, false),
    ] {
        let mut buf = filled(&vec![b'a' ^ 1; len]);
        buf.join(len, kind, [1; 4]);
        assert_eq!(buf.storage.known_text(0..len).is_some(), is_known, "{len} of {kind:?}");
    }
}

#[test]
fn what_it_holds_is_not_for_logs() {
    let mut buf = filled(b"secret");
    buf.join(2, MessageKind::Text, [0; 4]);
    assert_eq!(format!("{buf:?}"), "RecvBuf { unread: 4, message: 2, capacity: 64 }");
}

#[derive(Clone, Debug)]
enum Op {
    Read(usize),
    Extend(Vec<u8>),
    Skip(usize),
    LendUnread(usize),
    Join(usize, [u8; 4]),
    LendMessage(usize),
    Take,
    Release,
    Truncate(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..80_usize).prop_map(Op::Read),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Op::Extend),
        (0..100_usize).prop_map(Op::Skip),
        (0..100_usize).prop_map(Op::LendUnread),
        (0..100_usize, any::<[u8; 4]>()).prop_map(|(n, key)| Op::Join(n, key)),
        (0..5_usize).prop_map(Op::LendMessage),
        Just(Op::Take),
        Just(Op::Release),
        (0..100_usize).prop_map(Op::Truncate),
    ]
}

proptest! {
    /// Held against a model of three plain vectors.
    #[test]
    fn any_order_of_calls_keeps_every_byte(ops in proptest::collection::vec(op(), 0..60)) {
        let mut buf = RecvBuf::with_read_size(64);
        let (mut message, mut unread, mut lent) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 0_u8;
        for op in ops {
            match op {
                Op::Read(n) => {
                    let spare = buf.spare_mut();
                    let n = n.min(spare.len());
                    for byte in &mut spare[..n] {
                        next = next.wrapping_add(1);
                        *byte = next;
                        unread.push(next);
                    }
                    buf.advance_received(n);
                    lent.clear();
                }
                Op::Extend(bytes) => {
                    buf.extend_from_slice(&bytes);
                    unread.extend(bytes);
                    lent.clear();
                }
                Op::Skip(n) => {
                    let n = n.min(unread.len());
                    buf.consume_unread(n);
                    unread.drain(..n);
                    lent.clear();
                }
                Op::LendUnread(n) => {
                    let n = n.min(unread.len());
                    lent = unread.drain(..n).collect();
                    prop_assert_eq!(&*buf.lend_unread(n), &lent[..]);
                }
                Op::Join(n, key) => {
                    let n = n.min(unread.len());
                    let piece: Vec<u8> = unread.drain(..n).collect();
                    buf.lent = 0..0;
                    lent.clear();
                    prop_assert_eq!(buf.join(n, MessageKind::Binary, key), n);
                    message.extend(piece.into_iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));
                }
                Op::LendMessage(keep) => {
                    let at = message.len() - keep.min(message.len());
                    buf.lend_message(keep);
                    lent = message.drain(..at).collect();
                }
                Op::Take => prop_assert_eq!(buf.take_payload(), std::mem::take(&mut lent)),
                Op::Release => {
                    buf.release();
                    lent.clear();
                }
                Op::Truncate(n) => {
                    buf.truncate_unread(n);
                    unread.truncate(n);
                }
            }
            prop_assert_eq!(buf.lent(), &lent[..]);
            prop_assert_eq!(buf.unread(), &unread[..]);
            prop_assert_eq!(buf.len(), unread.len() + message.len());
            prop_assert!(buf.start <= buf.joined && buf.joined <= buf.read && buf.read <= buf.end);
            prop_assert!(buf.end <= buf.storage.len());
            prop_assert_eq!(&buf.storage[buf.start..buf.joined], &message[..]);
        }
    }
}
