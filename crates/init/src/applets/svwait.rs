//! `s6-svwait`: waits until services are up, ready, down.

use std::ffi::OsString;

use super::complain::usage;
use super::options::Options;
use super::wait::{read_options, wait_all, watch_all};

const NAME: &str = "s6-svwait";

/// Exit 0 when they are; how many failed; 99 when time is over.
pub(super) fn main(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let dirs = |options: &Options<'_>| options.rest().to_vec();
    match read_options(&mut options) {
        Ok(asked) if !options.rest().is_empty() => match watch_all(NAME, &dirs(&options)) {
            Ok(watches) => wait_all(NAME, watches, asked.goal, asked.any, &asked.deadline),
            Err(code) => code,
        },
        Ok(_) | Err(_) => usage(
            "s6-svwait [ -U | -u | -d | -D | -r | -R ] [ -a | -o ] [ -t timeout ] servicedir...",
        ),
    }
}
