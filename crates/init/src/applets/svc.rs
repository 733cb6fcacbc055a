//! `s6-svc`: orders to the supervisor of a service.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use herm_s6::control::{LETTERS, signal_letter};
use rustix::io::Errno;

use super::complain::{USAGE as PRECONDITION, fatal, refused, usage, warning};
use super::options::{BadOption, Options};
use super::wait::{Deadline, Goal, Watch, wait_all};

const NAME: &str = "s6-svc";
const USAGE: &str = "s6-svc [ -wu | -wU | -wd | -wD | -wr | -wR ] [ -T timeout ] [ -s signal ] [ -abqhkti12pcyPCKrlduoDUxOQ ] servicedir...";

/// No more orders are sent at once.
const ORDERS_MAX: usize = 62;

/// Writes the orders; with `-w`, exits when their result is there, as `s6-svwait` does.
pub(super) fn main(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let Ok(asked) = read_options(&mut options) else {
        return usage(USAGE);
    };
    if options.rest().is_empty() {
        return usage(USAGE);
    }
    let mut code = 0;
    for dir in options.rest() {
        match serve(Path::new(dir), &asked) {
            0 => {}
            failed => code = failed,
        }
    }
    code
}

#[derive(Default)]
struct Asked {
    letters: Vec<u8>,
    wait: Option<Goal>,
    timeout_ms: u32,
}

fn read_options(options: &mut Options<'_>) -> Result<Asked, BadOption> {
    let mut asked = Asked::default();
    let mut letters = LETTERS.to_vec();
    letters.extend_from_slice(b"wTs");
    while let Some(letter) = options.next(&letters)? {
        match letter {
            b'w' => asked.wait = Some(Goal::of_word(options.argument()?).ok_or(BadOption)?),
            b'T' => asked.timeout_ms = options.number()?,
            b's' => {
                let name = options.argument()?.to_str();
                let signal = name.and_then(herm_sys::Signal::parse).ok_or(BadOption)?;
                asked
                    .letters
                    .push(signal_letter(signal.number()).ok_or(BadOption)?);
            }
            letter => asked.letters.push(letter),
        }
    }
    if asked.letters.len() > ORDERS_MAX {
        return Err(BadOption);
    }
    Ok(asked)
}

fn serve(dir: &Path, asked: &Asked) -> u8 {
    if let Err(error) = std::fs::metadata(dir) {
        return refused(NAME, &format_args!("look at {}", dir.display()), &error);
    }
    let Some(goal) = asked.wait else {
        return order(dir, &asked.letters);
    };
    let goal = goal.without_readiness(|| {
        let silent = !dir.join("notification-fd").exists();
        if silent && goal.is_ready() {
            let text = format_args!("{} does not say when it is ready", dir.display());
            warning(NAME, &text);
        }
        silent
    });
    let deadline = Deadline::after(asked.timeout_ms);
    let watch = match Watch::begin(dir) {
        Ok(watch) => watch,
        Err(error) => return refused(NAME, &format_args!("wait for {}", dir.display()), &error),
    };
    match order(dir, &asked.letters) {
        0 => wait_all(NAME, vec![watch], goal, false, &deadline),
        failed => failed,
    }
}

fn order(dir: &Path, letters: &[u8]) -> u8 {
    let path = dir.join("supervise/control");
    match write_orders(&path, letters) {
        Ok(()) => 0,
        Err(Errno::NXIO | Errno::NOENT) => fatal(
            NAME,
            &format_args!(
                "unable to control {}: supervisor not listening",
                dir.display()
            ),
            PRECONDITION,
        ),
        Err(error) => refused(
            NAME,
            &format_args!("write to {}", path.display()),
            &io::Error::from(error),
        ),
    }
}

/// Writes letters to a control FIFO at once, without waiting for a reader.
pub(super) fn write_orders(path: &Path, letters: &[u8]) -> Result<(), Errno> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::io::write(&fifo, letters).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<(String, bool)> {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let asked = read_options(&mut Options::new(&words)).ok()?;
        Some((String::from_utf8(asked.letters).ok()?, asked.wait.is_some()))
    }

    #[test]
    fn orders_keep_their_turn_and_signals_have_letters() {
        assert_eq!(read(&["-wu", "-T1000", "-ud"]), Some(("ud".into(), true)));
        assert_eq!(read(&["-s", "SIGHUP", "-x"]), Some(("hx".into(), false)));
        assert_eq!(read(&["-w", "D", "-o"]), Some(("o".into(), true)));
    }

    #[test]
    fn what_can_not_be_sent_is_a_usage_error() {
        assert_eq!(read(&["-s", "SIGCHLD"]), None);
        assert_eq!(read(&["-wz"]), None);
        assert_eq!(read(&["-z"]), None);
    }
}
