//! What has arrived for one of those who receive, and when it is enough.

use std::collections::VecDeque;

use sansocket::Message;

use super::Changes;

#[derive(Debug)]
pub(super) struct Arrivals<T> {
    items: VecDeque<(T, usize)>,
    /// What they cost, at least, in bytes.
    len: usize,
    /// Whether it was full and has not been emptied since.
    is_held: bool,
}

impl<T> Default for Arrivals<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), len: 0, is_held: false }
    }
}

impl<T> Arrivals<T> {
    pub(super) fn push(&mut self, item: T, len: usize) {
        // Empty ones are not free.
        let cost = len + size_of::<Message>();
        self.len += cost;
        self.items.push_back((item, cost));
        self.is_held |= self.items.len() >= INBOX_MESSAGES_MAX || self.len >= INBOX_LEN_MAX;
    }

    pub(super) fn pop(&mut self, changes: &mut Changes) -> Option<T> {
        let (item, cost) = self.items.pop_front()?;
        self.len -= cost;
        // Not at each message, or every one of a flood would take a turn of its own.
        if self.items.is_empty() && std::mem::take(&mut self.is_held) {
            changes.driver = true;
        }
        Some(item)
    }

    /// Whether what follows stays with the peer for now.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// How many messages wait to be received; when they do, the peer is not read until all have been.
///
/// 256: enough for a receiver to be busy until more have come.
pub const INBOX_MESSAGES_MAX: usize = 256;
/// How many bytes of them, with what holds them; the last message may go beyond.
///
/// 256 KiB: about as much as a stream has under way.
pub const INBOX_LEN_MAX: usize = 256 * 1024;
