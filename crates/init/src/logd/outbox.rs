//! Messages for PID 1, kept while its socket is full.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use crate::logproto::{FromLogd, SendError, send};

/// Beyond this many, messages that nothing depends on are dropped.
const OPTIONAL_MESSAGES_MAX: usize = 256;

/// Messages in the order they are to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<FromLogd>,
}

impl Outbox {
    /// Appends a message.
    pub(crate) fn push(&mut self, message: FromLogd) {
        let is_optional = matches!(
            message,
            FromLogd::Alive
                | FromLogd::Problem { .. }
                | FromLogd::Stats(_)
                | FromLogd::Dropped { .. }
        );
        if !is_optional || self.waiting.len() < OPTIONAL_MESSAGES_MAX {
            self.waiting.push_back(message);
        }
    }

    /// Sends what the socket takes. `true`: the rest waits until it is writable.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> bool {
        while let Some(message) = self.waiting.front() {
            match send(socket, message, None) {
                Err(SendError::Full) => return true,
                Err(SendError::Closed) => self.waiting.clear(),
                Ok(()) | Err(SendError::Unencodable(_) | SendError::Os(_)) => {
                    self.waiting.pop_front();
                }
            }
        }
        false
    }
}
