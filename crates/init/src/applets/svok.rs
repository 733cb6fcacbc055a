//! `s6-svok`: whether a service is supervised.

use std::ffi::OsString;
use std::path::Path;

use super::complain::{refused, usage};
use super::service::is_supervised;

/// Exit 0 if it is, 1 if not.
pub(super) fn main(args: &[OsString]) -> u8 {
    let Some(dir) = args.iter().find(|word| *word != "--") else {
        return usage("s6-svok servicedir");
    };
    let dir = Path::new(dir);
    match is_supervised(dir) {
        Ok(supervised) => u8::from(!supervised),
        Err(error) => refused(
            "s6-svok",
            &format_args!("look at {}", dir.display()),
            &error,
        ),
    }
}
