//! Times as the s6 family writes them: TAI, in 12 bytes or as a label of 25 characters.

use core::time::Duration;

/// What TAI64 adds to the seconds, so that times before 1970 are positive too.
const TAI64_BASE: u64 = 1 << 62;
/// TAI is ahead of UTC by this many seconds since 2017-01-01, and no further leap second is
/// announced.
const TAI_MINUS_UTC: u64 = 37;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// One instant, as 8 bytes of seconds and 4 of nanoseconds, big-endian (TAI64N).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tain {
    /// 2^62 + the seconds of TAI since 1970.
    seconds: u64,
    /// Below 10^9.
    nanos: u32,
}

impl Tain {
    /// How many bytes a stamp has.
    pub const SIZE: usize = 12;
    /// How many characters a label has: `@` and 24 hexadecimal digits.
    pub const LABEL: usize = 25;

    /// The instant this long after 1970-01-01 00:00 UTC, as the system's clock counts.
    pub const fn from_unix(since_epoch: Duration) -> Self {
        Self {
            seconds: TAI64_BASE
                .saturating_add(TAI_MINUS_UTC)
                .saturating_add(since_epoch.as_secs()),
            nanos: since_epoch.subsec_nanos(),
        }
    }

    /// How long after 1970-01-01 00:00 UTC this is; nothing for times before.
    pub const fn to_unix(self) -> Option<Duration> {
        match self.seconds.checked_sub(TAI64_BASE + TAI_MINUS_UTC) {
            Some(seconds) => Some(Duration::new(seconds, self.nanos)),
            None => None,
        }
    }

    /// How long after `earlier` this is, or zero.
    pub const fn since(self, earlier: Self) -> Duration {
        let this = Duration::new(self.seconds, self.nanos);
        this.saturating_sub(Duration::new(earlier.seconds, earlier.nanos))
    }

    /// The 12 bytes.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (seconds, nanos) = bytes.split_at_mut(8);
        seconds.copy_from_slice(&self.seconds.to_be_bytes());
        nanos.copy_from_slice(&self.nanos.to_be_bytes());
        bytes
    }

    /// The instant in these 12 bytes; nothing if the nanoseconds are a second or more.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let (seconds, nanos) = bytes.split_first_chunk::<8>()?;
        let stamp = Self {
            seconds: u64::from_be_bytes(*seconds),
            nanos: u32::from_be_bytes(nanos.try_into().ok()?),
        };
        (stamp.nanos < NANOS_PER_SECOND).then_some(stamp)
    }

    /// The label, as `s6-svstat -o updownsince`, log files and event FIFOs have it.
    pub fn label(self) -> [u8; Self::LABEL] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut label = [b'@'; Self::LABEL];
        let pairs = label.iter_mut().skip(1);
        let nibbles = self.to_bytes();
        let nibbles = nibbles
            .iter()
            .flat_map(|byte| [usize::from(byte >> 4), usize::from(byte & 15)]);
        for (digit, nibble) in pairs.zip(nibbles) {
            *digit = DIGITS.get(nibble).copied().unwrap_or(b'0');
        }
        label
    }

    /// The instant of a label; nothing if it is not one. Digits may be of either case.
    pub fn from_label(label: &[u8]) -> Option<Self> {
        let digits = label.strip_prefix(b"@")?;
        if digits.len() != 2 * Self::SIZE {
            return None;
        }
        let mut bytes = [0; Self::SIZE];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16)?;
                *byte = (*byte << 4) | u8::try_from(value).ok()?;
            }
        }
        Self::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stamp that s6 2.11.3.2 wrote.
    const SEEN: [u8; 12] = [0x40, 0, 0, 0, 0x6b, 0, 0x67, 0x94, 0x36, 0xee, 0x7b, 0x55];

    #[test]
    fn a_stamp_counts_leap_seconds() {
        let unix = Duration::new(0x6b00_6794 - 37, 0x36ee_7b55);
        assert_eq!(Tain::from_unix(unix).to_bytes(), SEEN);
        assert_eq!(Tain::from_bytes(SEEN).and_then(Tain::to_unix), Some(unix));
    }

    #[test]
    fn a_label_is_an_at_sign_and_the_bytes_in_hexadecimal() {
        let stamp = Tain::from_bytes(SEEN).unwrap_or_default();
        assert_eq!(&stamp.label(), b"@400000006b00679436ee7b55");
        assert_eq!(Tain::from_label(b"@400000006B00679436EE7B55"), Some(stamp));
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in [
            &b""[..],
            b"@",
            b"400000006b00679436ee7b55",
            b"@400000006b00679436ee7b5",
            b"@400000006b00679436ee7b5g",
            b"@400000006b006794ffffffff",
        ] {
            assert_eq!(Tain::from_label(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_time_between_two_stamps_is_never_negative() {
        let early = Tain::from_unix(Duration::from_millis(1_500));
        let late = Tain::from_unix(Duration::from_millis(3_250));
        assert_eq!(late.since(early), Duration::from_millis(1_750));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_stamp_survives_bytes_and_label(seconds in 0..(1_u64 << 61), nanos in 0..NANOS_PER_SECOND) {
            let stamp = Tain::from_unix(Duration::new(seconds, nanos));
            prop_assert_eq!(Tain::from_bytes(stamp.to_bytes()), Some(stamp));
            prop_assert_eq!(Tain::from_label(&stamp.label()), Some(stamp));
            prop_assert_eq!(stamp.to_unix(), Some(Duration::new(seconds, nanos)));
        }
    }
}
