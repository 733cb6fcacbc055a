//! What commands of the family say on standard error, and the codes they end with.

use std::fmt::Display;
use std::io::Write as _;

/// A usage error, or a precondition that doesn't hold.
pub(crate) const USAGE: u8 = 100;
/// A system call failed.
pub(crate) const SYSTEM: u8 = 111;

/// Prints the usage line, and returns [`USAGE`].
#[expect(clippy::print_stderr, reason = "a command, not PID 1's loop")]
pub(crate) fn usage(line: &str) -> u8 {
    let command = line.split(' ').next().unwrap_or_default();
    eprintln!("{command}: usage: {line}");
    USAGE
}

/// Prints why the command can't go on, and returns `code`.
#[expect(clippy::print_stderr, reason = "a command, not PID 1's loop")]
pub(crate) fn fatal(command: &str, text: &dyn Display, code: u8) -> u8 {
    eprintln!("{command}: fatal: {text}");
    code
}

/// As [`fatal`], where the system refused something.
pub(crate) fn refused(command: &str, what: &dyn Display, error: &dyn Display) -> u8 {
    fatal(command, &format_args!("unable to {what}: {error}"), SYSTEM)
}

/// Prints a warning.
#[expect(clippy::print_stderr, reason = "a command, not PID 1's loop")]
pub(crate) fn warning(command: &str, text: &dyn Display) {
    eprintln!("{command}: warning: {text}");
}

/// Prints a line that was asked for; the exit code.
pub(crate) fn say(line: &str) -> u8 {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => 0,
        Err(_) => SYSTEM,
    }
}
