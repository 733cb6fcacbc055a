//! Local time, as the time zone of the process has it (`TZ`, else `/etc/localtime`; see tzset(3)).
//!
//! # Safety
//!
//! `unsafe` for `localtime_r`, which fills in a struct of the caller's and reads the environment: nothing in herm changes the
//! environment of a running process.
#![expect(unsafe_code, reason = "localtime_r")]

/// A moment on the calendar and the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

fn from_c(tm: &libc::tm) -> LocalTime {
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: tm.tm_mon.saturating_add(1),
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    }
}

fn convert(
    seconds: i64,
    function: unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm,
) -> Option<LocalTime> {
    let mut tm = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both functions read one number and fill in one struct, or return null.
    let filled = unsafe { function(&raw const seconds, tm.as_mut_ptr()) };
    if filled.is_null() {
        return None;
    }
    // SAFETY: initialised by zeroing, then by the call; every bit pattern of numbers and a pointer is valid.
    let tm = unsafe { tm.assume_init() };
    Some(from_c(&tm))
}

/// The local time at so many seconds since 1970.
pub fn local(seconds: i64) -> Option<LocalTime> {
    convert(seconds, libc::localtime_r)
}

/// The time in Greenwich at so many seconds since 1970.
pub fn utc(seconds: i64) -> Option<LocalTime> {
    convert(seconds, libc::gmtime_r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_its_date() {
        let time = utc(951_827_696).unwrap();
        let date = (time.year, time.month, time.day);
        assert_eq!(date, (2000, 2, 29));
        assert_eq!((time.hour, time.minute, time.second), (12, 34, 56));
        assert_eq!(utc(i64::MAX), None);
    }
}
