//! Numbers in files of a service directory.

/// The decimal number in a file's content: all of its first line, and nothing else in it. Later
/// lines don't count, nor does it matter whether the first one ends; a blank after the digits
/// does.
pub fn parse(content: &[u8]) -> Option<u32> {
    let line = content.split(|byte| *byte == b'\n').next()?;
    if line.is_empty() {
        return None;
    }
    line.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn only_the_first_line_counts_and_only_digits_in_it() {
        assert_eq!(parse(b"3\n"), Some(3));
        assert_eq!(parse(b"3"), Some(3));
        assert_eq!(parse(b"3\nrest"), Some(3));
        for bad in [
            &b""[..],
            b"\n",
            b"3 \n",
            b" 3",
            b"+3",
            b"-3",
            b"3\r\n",
            b"x",
            b"4294967296",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(number: u32) {
            prop_assert_eq!(parse(format!("{number}\n").as_bytes()), Some(number));
        }
    }
}
