//! `s6-svstat`: what a service is doing, in a line for people or as fields for scripts.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::Path;

use herm_s6::status::{Ended, Status};
use herm_s6::tai::Tain;
use herm_sys::Signal;

use super::complain::{fatal, refused, say, usage};
use super::options::{BadOption, Options};
use super::service::{is_supervised, now, read_status};

const NAME: &str = "s6-svstat";
const USAGE: &str = "s6-svstat [ -uwNrpgest | -o up,wantedup,normallyup,ready,paused,pid,pgid,exitcode,signal,signum,updownsince,readysince,updownfor,readyfor ] [ -n ] servicedir";

/// Fields are asked for by name, or by an abbreviation that no earlier one has. A letter is an
/// option that asks for one.
const FIELDS: &[(&str, u8, Field)] = &[
    ("up", b'u', |s| flag(s.status.is_up())),
    ("wantedup", b'w', |s| flag(s.status.wanted_up)),
    ("normallyup", b'N', |s| flag(s.normally_up)),
    ("ready", b'r', |s| flag(s.status.pid != 0 && s.status.ready)),
    ("paused", 0, |s| flag(s.status.paused)),
    ("pid", b'p', pid),
    ("exitcode", b'e', |s| match s.last_end() {
        Some(Ended::Exited(code)) => code.to_string(),
        Some(Ended::Killed(_)) | None => "-1".to_owned(),
    }),
    ("signal", b's', |s| match s.last_end() {
        Some(Ended::Killed(signal)) => signal_name(signal),
        Some(Ended::Exited(_)) | None => "NA".to_owned(),
    }),
    ("signum", 0, |s| match s.last_end() {
        Some(Ended::Killed(signal)) => signal.to_string(),
        Some(Ended::Exited(_)) | None => "-1".to_owned(),
    }),
    ("updownsince", 0, |s| label(s.status.changed)),
    ("readysince", 0, |s| label(s.status.ready_since)),
    ("updownfor", b't', |s| s.seconds_since(s.status.changed)),
    ("readyfor", 0, |s| s.seconds_since(s.status.ready_since)),
    ("pgid", b'g', pid),
];

type Field = fn(&Seen) -> String;

/// What is known of the service at this moment.
struct Seen {
    status: Status,
    normally_up: bool,
    now: Tain,
}

impl Seen {
    /// How the last run ended, unless one is up.
    fn last_end(&self) -> Option<Ended> {
        (!self.status.is_up()).then_some(self.status.ended)
    }

    fn seconds_since(&self, stamp: Tain) -> String {
        self.now.since(stamp).as_secs().to_string()
    }

    /// The line for people.
    fn line(&self, numbers: bool) -> String {
        let status = &self.status;
        let up = status.is_up();
        let mut line = match status.ended {
            _ if up => format!("up (pid {})", status.pid),
            Ended::Exited(code) => format!("down (exitcode {code})"),
            Ended::Killed(signal) if numbers => format!("down (signal {signal})"),
            Ended::Killed(signal) => format!("down (signal {})", signal_name(signal)),
        };
        let _ = write!(line, " {} seconds", self.seconds_since(status.changed));
        let remarks = [
            (up && !self.normally_up, ", normally down"),
            (!up && self.normally_up, ", normally up"),
            (up && status.paused, ", paused"),
            (!up && status.wanted_up, ", want up"),
            (up && !status.wanted_up, ", want down"),
        ];
        for (_, remark) in remarks.iter().filter(|(holds, _)| *holds) {
            line.push_str(remark);
        }
        if status.ready {
            let _ = write!(
                line,
                ", ready {} seconds",
                self.seconds_since(status.ready_since)
            );
        }
        line
    }
}

/// Exit 0 with a line, 1 where nothing supervises the service.
pub(super) fn main(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let Ok((fields, numbers)) = read_options(&mut options) else {
        return usage(USAGE);
    };
    let Some(dir) = options.rest().first() else {
        return usage(USAGE);
    };
    let dir = Path::new(dir);
    match is_supervised(dir) {
        Ok(true) => {}
        Ok(false) => {
            let what = format_args!(
                "unable to read status for {}: s6-supervise not running",
                dir.display()
            );
            return fatal(NAME, &what, 1);
        }
        Err(error) => return refused(NAME, &format_args!("look at {}", dir.display()), &error),
    }
    let status = match read_status(dir) {
        Ok(Some(status)) => status,
        Ok(None) => {
            let text = format_args!("{}: its status is no status of s6's", dir.display());
            return fatal(NAME, &text, 1);
        }
        Err(error) => return refused(NAME, &"read the status", &error),
    };
    let seen = Seen {
        status,
        normally_up: !dir.join("down").exists(),
        now: now(),
    };
    let text = if fields.is_empty() {
        seen.line(numbers)
    } else {
        let words: Vec<String> = fields.iter().map(|field| field(&seen)).collect();
        words.join(" ")
    };
    say(&text)
}

fn read_options(options: &mut Options<'_>) -> Result<(Vec<Field>, bool), BadOption> {
    let mut fields = Vec::new();
    let mut numbers = false;
    while let Some(letter) = options.next(b"uwNrpgestno")? {
        match letter {
            b'n' => numbers = true,
            b'o' => named(options.argument()?, &mut fields)?,
            letter => {
                let field = FIELDS.iter().find(|(_, own, _)| *own == letter);
                fields.extend(field.map(|(_, _, field)| *field));
            }
        }
    }
    Ok((fields, numbers))
}

fn named(list: &OsStr, fields: &mut Vec<Field>) -> Result<(), BadOption> {
    let list = list.to_str().ok_or(BadOption)?;
    for word in list.split(',') {
        // An exact name comes before an earlier field that it abbreviates.
        let exact = FIELDS.iter().find(|(name, _, _)| *name == word);
        let starts = || FIELDS.iter().find(|(name, _, _)| name.starts_with(word));
        let (_, _, field) = exact.or_else(starts).ok_or(BadOption)?;
        fields.push(*field);
    }
    Ok(())
}

fn flag(value: bool) -> String {
    if value { "true" } else { "false" }.to_owned()
}

fn pid(seen: &Seen) -> String {
    if seen.status.is_up() {
        seen.status.pid.to_string()
    } else {
        "-1".to_owned()
    }
}

fn label(stamp: Tain) -> String {
    String::from_utf8_lossy(&stamp.label()).into_owned()
}

fn signal_name(number: u8) -> String {
    let name = Signal::new(number).and_then(Signal::name);
    format!("SIG{}", name.unwrap_or("???"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Tain {
        Tain::from_unix(Duration::from_secs(seconds))
    }

    fn seen(pid: u64, ended: Ended, wanted_up: bool) -> Seen {
        Seen {
            status: Status {
                changed: at(100),
                ready_since: at(101),
                pid,
                ended,
                paused: false,
                finishing: false,
                wanted_up,
                ready: true,
            },
            normally_up: true,
            now: at(105),
        }
    }

    #[test]
    fn the_line_says_what_differs_from_the_usual() {
        let mut up = seen(7, Ended::Exited(0), true);
        assert_eq!(up.line(false), "up (pid 7) 5 seconds, ready 4 seconds");
        up.status.wanted_up = false;
        up.normally_up = false;
        up.status.ready = false;
        assert_eq!(
            up.line(false),
            "up (pid 7) 5 seconds, normally down, want down"
        );
        let mut killed = seen(0, Ended::Killed(15), true);
        killed.status.ready = false;
        assert_eq!(
            killed.line(false),
            "down (signal SIGTERM) 5 seconds, normally up, want up"
        );
        assert_eq!(
            killed.line(true),
            "down (signal 15) 5 seconds, normally up, want up"
        );
    }

    #[test]
    fn fields_come_in_the_order_asked_for_and_may_be_abbreviated() {
        let words: Vec<OsString> = ["-o", "pid,up,exit,readyfor", "-s"]
            .iter()
            .map(Into::into)
            .collect();
        let Ok((fields, _)) = read_options(&mut Options::new(&words)) else {
            panic!("the options are good");
        };
        let down = seen(0, Ended::Exited(3), false);
        let values: Vec<String> = fields.iter().map(|field| field(&down)).collect();
        assert_eq!(values, ["-1", "false", "3", "4", "NA"]);
    }

    #[test]
    fn an_unknown_field_is_a_usage_error() {
        let words: Vec<OsString> = ["-o", "pid,nope"].iter().map(Into::into).collect();
        assert!(read_options(&mut Options::new(&words)).is_err());
    }
}
