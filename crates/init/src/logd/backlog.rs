//! Lines that could not be written yet. Bounded, and what is dropped is the oldest: the newest
//! lines are the ones that tell of a crash. Pure.

use std::collections::VecDeque;

/// Some whole lines, with whatever their owner wants to know about them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk<T> {
    /// The lines.
    pub(crate) bytes: Vec<u8>,
    /// How many.
    pub(crate) lines: u64,
    /// Whose they are.
    pub(crate) owner: T,
}

/// A queue of chunks that never holds more than its cap, unless it holds only one.
#[derive(Debug)]
pub(crate) struct Backlog<T> {
    chunks: VecDeque<Chunk<T>>,
    bytes: usize,
    cap: usize,
}

impl<T> Backlog<T> {
    /// An empty queue for `cap` bytes.
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            cap,
        }
    }

    /// Appends a chunk, and calls `dropped` with each older one that has to go for it.
    pub(crate) fn push(&mut self, chunk: Chunk<T>, mut dropped: impl FnMut(Chunk<T>)) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
        while self.bytes > self.cap && self.chunks.len() > 1 {
            if let Some(oldest) = self.pop() {
                dropped(oldest);
            }
        }
    }

    /// Takes the oldest chunk.
    pub(crate) fn pop(&mut self) -> Option<Chunk<T>> {
        let chunk = self.chunks.pop_front()?;
        self.bytes = self.bytes.saturating_sub(chunk.bytes.len());
        Some(chunk)
    }

    /// Puts back what [`Backlog::pop`] gave.
    pub(crate) fn unpop(&mut self, chunk: Chunk<T>) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_front(chunk);
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Chunk<()> {
        Chunk {
            bytes: text.as_bytes().to_vec(),
            lines: 1,
            owner: (),
        }
    }

    #[test]
    fn l63_a_full_backlog_drops_its_oldest_lines_and_tells_which() {
        let mut backlog = Backlog::new(6);
        let mut lost = Vec::new();
        for text in ["one\n", "2\n", "three\n"] {
            backlog.push(chunk(text), |chunk| lost.push(chunk));
        }
        assert_eq!(lost, [chunk("one\n"), chunk("2\n")]);
        assert_eq!(backlog.pop(), Some(chunk("three\n")));
        assert!(backlog.is_empty());
    }

    #[test]
    fn one_chunk_is_kept_however_long_and_can_be_put_back() {
        let mut backlog = Backlog::new(2);
        backlog.push(chunk("long\n"), |_| panic!("nothing is older"));
        let taken = backlog.pop().unwrap();
        backlog.unpop(taken);
        assert_eq!(backlog.pop(), Some(chunk("long\n")));
        assert_eq!(backlog.pop(), None);
    }
}
