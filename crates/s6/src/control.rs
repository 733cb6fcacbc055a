//! Orders as single letters: those in `supervise/control`, and those of the scanner's FIFO.

/// A signal that has a letter, by its number on Linux.
const SIGNALS: &[(u8, u8)] = &[
    (b'a', 14),
    (b'b', 6),
    (b'q', 3),
    (b'h', 1),
    (b'k', 9),
    (b't', 15),
    (b'i', 2),
    (b'1', 10),
    (b'2', 12),
    (b'y', 28),
];

/// An order to the supervisor of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send this signal to `run`.
    Signal(u8),
    /// Stop it with a signal, and say that it is paused; `group`: all of its process group.
    Pause {
        /// The group, not only the process.
        group: bool,
    },
    /// Let it go on.
    Continue {
        /// The group, not only the process.
        group: bool,
    },
    /// Kill its process group.
    KillGroup,
    /// Send the signal that brings it down; what is wanted stays.
    Restart,
    /// Send the signal that makes it reload.
    Reload,
    /// Want it down, and bring it down.
    Down,
    /// Want it up, and start it at once.
    Up,
    /// Want it down, but start it once if it is down.
    Once,
    /// Want it down, and let it run until it ends.
    LetEnd,
    /// Down, now and after the next boot of the supervisor.
    DownForGood,
    /// Up, now and after the next boot of the supervisor.
    UpForGood,
    /// Let it run until it ends, and leave it down after the next boot.
    LetEndForGood,
    /// End supervision when it is next down.
    Exit,
}

impl Order {
    /// The order of a letter; nothing for what is none.
    pub fn from_letter(letter: u8) -> Option<Self> {
        if let Some((_, signal)) = SIGNALS.iter().find(|(own, _)| *own == letter) {
            return Some(Self::Signal(*signal));
        }
        Some(match letter {
            b'p' => Self::Pause { group: false },
            b'P' => Self::Pause { group: true },
            b'c' => Self::Continue { group: false },
            b'C' => Self::Continue { group: true },
            b'K' => Self::KillGroup,
            b'r' => Self::Restart,
            b'l' => Self::Reload,
            b'd' => Self::Down,
            b'u' => Self::Up,
            b'o' => Self::Once,
            b'O' => Self::LetEnd,
            b'D' => Self::DownForGood,
            b'U' => Self::UpForGood,
            b'Q' => Self::LetEndForGood,
            b'x' => Self::Exit,
            _ => return None,
        })
    }
}

/// The letter that has this signal sent, if one has.
pub fn signal_letter(number: u8) -> Option<u8> {
    let found = SIGNALS.iter().find(|(_, signal)| *signal == number);
    found.map(|(letter, _)| *letter)
}

/// Every letter of [`Order`], as `s6-svc` has them for options.
pub const LETTERS: &[u8] = b"abqhkti12ypcPCKrlduoODUQx";

/// An order to the scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOrder {
    /// Look for services.
    Scan,
    /// Collect dead children.
    Reap,
    /// Let go of services that are not there any more.
    Prune,
    /// Stop every service and end.
    Stop,
    /// End at once, and leave services running.
    Abort,
}

impl ScanOrder {
    /// The orders of a letter, in turn; nothing for what is none.
    pub fn from_letter(letter: u8) -> Option<&'static [Self]> {
        Some(match letter {
            b'a' => &[Self::Scan],
            b'h' => &[Self::Scan, Self::Prune],
            b'z' => &[Self::Reap],
            b'n' | b'N' => &[Self::Prune],
            b't' | b'i' | b'q' => &[Self::Stop],
            b'b' => &[Self::Abort],
            _ => return None,
        })
    }
}

/// Every letter of [`ScanOrder`], as `s6-svscanctl` has them for options.
pub const SCAN_LETTERS: &[u8] = b"zabhitqnN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_is_offered_is_an_order_and_no_other_is() {
        for letter in 0..=255 {
            let offered = LETTERS.contains(&letter);
            assert_eq!(Order::from_letter(letter).is_some(), offered, "{letter}");
            let offered = SCAN_LETTERS.contains(&letter);
            assert_eq!(
                ScanOrder::from_letter(letter).is_some(),
                offered,
                "{letter}"
            );
        }
    }

    #[test]
    fn no_two_letters_mean_the_same() {
        for (place, letter) in LETTERS.iter().enumerate() {
            for other in LETTERS.iter().skip(place + 1) {
                assert_ne!(Order::from_letter(*letter), Order::from_letter(*other));
            }
        }
    }

    #[test]
    fn a_signal_has_the_letter_that_sends_it() {
        for (letter, signal) in SIGNALS {
            assert_eq!(signal_letter(*signal), Some(*letter));
            assert_eq!(Order::from_letter(*letter), Some(Order::Signal(*signal)));
        }
        assert_eq!(signal_letter(17), None);
    }
}
