//! `s6-svscanctl`: orders to the scanner of a scan directory.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use herm_s6::control::SCAN_LETTERS;
use rustix::io::Errno;

use super::complain::{USAGE as PRECONDITION, fatal, refused, usage};
use super::options::Options;
use super::svc::write_orders;

const NAME: &str = "s6-svscanctl";

/// Writes the orders; 100 where nobody scans the directory.
pub(super) fn main(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let mut letters = Vec::new();
    loop {
        match options.next(SCAN_LETTERS) {
            Ok(Some(letter)) => letters.push(letter),
            Ok(None) => break,
            Err(_) => return usage(USAGE),
        }
    }
    let Some(dir) = options.rest().first() else {
        return usage(USAGE);
    };
    let path = Path::new(dir).join(".s6-svscan/control");
    match write_orders(&path, &letters) {
        Ok(()) => 0,
        Err(Errno::NXIO | Errno::NOENT) if Path::new(dir).exists() => fatal(
            NAME,
            &format_args!("nobody scans {}", dir.display()),
            PRECONDITION,
        ),
        Err(error) => refused(
            NAME,
            &format_args!("write to {}", path.display()),
            &io::Error::from(error),
        ),
    }
}

const USAGE: &str = "s6-svscanctl [ -zabhitqnN ] svscandir";
