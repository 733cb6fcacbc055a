//! Events: single bytes that a supervisor writes to every FIFO in a fifodir.

use crate::tai::Tain;

/// Supervision has begun; the status is written.
pub const SUPERVISED: u8 = b's';
/// `run` was started.
pub const UP: u8 = b'u';
/// The service says that it is ready.
pub const READY: u8 = b'U';
/// `run` has died.
pub const DOWN: u8 = b'd';
/// Nothing of it runs, `finish` neither; it may be started.
pub const REALLY_DOWN: u8 = b'D';
/// It is not to be started again: `finish` says so. `D` follows.
pub const ONCE_DOWN: u8 = b'O';
/// Supervision ends.
pub const UNSUPERVISED: u8 = b'x';

const PREFIX: &[u8] = b"ftrig1:";
/// How many characters a listener's name has.
pub const LISTENER_NAME: usize = PREFIX.len() + Tain::LABEL + 1 + 6;

/// Whether a name in a fifodir is that of a FIFO that somebody listens on.
pub fn is_listener(name: &[u8]) -> bool {
    name.len() == LISTENER_NAME && name.starts_with(b"ftrig1:@")
}

/// The name of a FIFO to listen on, made at this time; six random letters tell apart those made
/// at once. It is made with a dot before it, and loses the dot when its reader is there.
pub fn listener_name(now: Tain, random: [u8; 6]) -> [u8; LISTENER_NAME] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut name = [b':'; LISTENER_NAME];
    let letters = random.map(|byte| {
        let letter = LETTERS.get(usize::from(byte % 64));
        letter.copied().unwrap_or(b'A')
    });
    let label = now.label();
    let parts = PREFIX.iter().chain(&label).chain(b":").chain(&letters);
    for (to, from) in name.iter_mut().zip(parts) {
        *to = *from;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    #[test]
    fn a_genuine_name_is_a_listeners() {
        assert!(is_listener(b"ftrig1:@400000006b0067b204b85e08:xlOdrP"));
    }

    #[test]
    fn what_is_not_ready_or_something_else_is_no_listener() {
        for name in [
            &b".ftrig1:@400000006b0067b204b85e08:xlOdrP"[..],
            b"ftrig1:@400000006b0067b204b85e08:xlOdr",
            b"ftrig1:x400000006b0067b204b85e08:xlOdrP",
            b"",
        ] {
            assert!(!is_listener(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_made_is_a_listeners(seconds in 0..1_u64 << 40, random: [u8; 6]) {
            let now = Tain::from_unix(Duration::from_secs(seconds));
            let name = listener_name(now, random);
            prop_assert!(is_listener(&name));
            prop_assert!(!name.contains(&b'/'));
        }
    }
}
