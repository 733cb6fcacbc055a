//! `supervise/status`: what a service is doing, in 35 bytes.

use crate::tai::Tain;

/// How a process ended, as `wait(2)` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// It returned this code.
    Exited(u8),
    /// This signal killed it.
    Killed(u8),
}

impl Ended {
    const fn from_wait(status: u16) -> Self {
        let [code, signal] = status.to_be_bytes();
        // The highest bit tells of a core dump.
        match signal & 0x7f {
            0 => Self::Exited(code),
            signal => Self::Killed(signal),
        }
    }

    const fn to_wait(self) -> u16 {
        match self {
            Self::Exited(code) => u16::from_be_bytes([code, 0]),
            Self::Killed(signal) => u16::from_be_bytes([0, signal & 0x7f]),
        }
    }
}

/// One service at one instant, as `s6-svstat` and its kin read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the format's flags, and independent of each other"
)]
pub struct Status {
    /// When its `run` was last started or last died.
    pub changed: Tain,
    /// When it last became ready, or fully down.
    pub ready_since: Tain,
    /// The process: of `run` while up, of `finish` while finishing, 0 while down.
    pub pid: u64,
    /// How the last `run` ended.
    pub ended: Ended,
    /// Stopped by a signal; of a service that is down, that it was never started.
    pub paused: bool,
    /// `finish` runs.
    pub finishing: bool,
    /// Whether it shall be up.
    pub wanted_up: bool,
    /// Ready while up; while down, that it may be started.
    pub ready: bool,
}

const PAUSED: u8 = 1;
const FINISHING: u8 = 2;
const WANTED_UP: u8 = 4;
const READY: u8 = 8;

impl Status {
    /// How many bytes the file has.
    pub const SIZE: usize = 35;

    /// The status in the file's bytes; nothing if they are too few, or a stamp is none. What
    /// follows the 35 bytes is not looked at.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (changed, rest) = bytes.split_first_chunk::<{ Tain::SIZE }>()?;
        let (ready_since, rest) = rest.split_first_chunk::<{ Tain::SIZE }>()?;
        let (pid, rest) = rest.split_first_chunk::<8>()?;
        let (wait, rest) = rest.split_first_chunk::<2>()?;
        let flags = rest.first()?;
        Some(Self {
            changed: Tain::from_bytes(*changed)?,
            ready_since: Tain::from_bytes(*ready_since)?,
            pid: u64::from_be_bytes(*pid),
            ended: Ended::from_wait(u16::from_be_bytes(*wait)),
            paused: flags & PAUSED != 0,
            finishing: flags & FINISHING != 0,
            wanted_up: flags & WANTED_UP != 0,
            ready: flags & READY != 0,
        })
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let flags = [
            (self.paused, PAUSED),
            (self.finishing, FINISHING),
            (self.wanted_up, WANTED_UP),
            (self.ready, READY),
        ];
        let flags = flags.iter().fold(
            0,
            |flags, (set, bit)| if *set { flags | bit } else { flags },
        );
        let mut bytes = [flags; Self::SIZE];
        let parts: [&[u8]; 4] = [
            &self.changed.to_bytes(),
            &self.ready_since.to_bytes(),
            &self.pid.to_be_bytes(),
            &self.ended.to_wait().to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Whether `run` is running.
    pub const fn is_up(&self) -> bool {
        self.pid != 0 && !self.finishing
    }

    /// Whether it was never started since its supervision began.
    pub const fn never_started(&self) -> bool {
        self.pid == 0 && self.paused && !self.finishing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    /// A file that s6 2.11.3.2 wrote for a service that was up and ready.
    const SEEN: [u8; Status::SIZE] = [
        0x40, 0, 0, 0, 0x6b, 0, 0x67, 0x94, 0x36, 0xee, 0x7b, 0x55, //
        0x40, 0, 0, 0, 0x6b, 0, 0x67, 0x95, 0x0c, 0xf5, 0xab, 0x66, //
        0, 0, 0, 0, 0, 0, 0x37, 0xb7, 0, 0, 0x0c,
    ];

    #[test]
    fn a_genuine_file_is_understood_and_written_again() {
        let status = Status::parse(&SEEN).unwrap();
        assert_eq!(status.pid, 14263);
        assert!(status.is_up() && status.ready && status.wanted_up);
        assert!(!status.paused && !status.finishing);
        assert_eq!(status.ended, Ended::Exited(0));
        assert_eq!(status.ready_since.since(status.changed).as_millis(), 295);
        assert_eq!(status.to_bytes(), SEEN);
    }

    #[test]
    fn a_torn_file_is_no_status() {
        for length in 0..Status::SIZE {
            assert_eq!(Status::parse(&SEEN[..length]), None);
        }
    }

    #[test]
    fn codes_and_signals_are_those_of_wait() {
        assert_eq!(Ended::from_wait(0x7d00), Ended::Exited(125));
        assert_eq!(Ended::from_wait(15), Ended::Killed(15));
        assert_eq!(
            Ended::from_wait(0x8b),
            Ended::Killed(11),
            "with a core dump"
        );
    }

    prop_compose! {
        fn any_status()(
            changed in 0..1_u64 << 40,
            ready in 0..1_u64 << 40,
            pid: u64,
            number in 0..256_u16,
            flags: [bool; 5],
        ) -> Status {
            let code = u8::try_from(number).unwrap_or(0);
            let [paused, finishing, wanted_up, ready_flag, killed] = flags;
            Status {
                changed: Tain::from_unix(Duration::from_millis(changed)),
                ready_since: Tain::from_unix(Duration::from_millis(ready)),
                pid,
                ended: if killed { Ended::Killed(code % 64 + 1) } else { Ended::Exited(code) },
                paused, finishing, wanted_up, ready: ready_flag,
            }
        }
    }

    proptest! {
        #[test]
        fn every_status_survives_its_bytes(status in any_status()) {
            prop_assert_eq!(Status::parse(&status.to_bytes()), Some(status));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Status::parse(&bytes);
        }
    }
}
