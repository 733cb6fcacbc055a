//! `s6-log`: lines from standard input to where a script of directives sends them.

mod directory;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use herm_s6::log::script::{Step, Target, parse};
use herm_s6::tai::Tain;
use herm_sys::signals::{self, SignalFd, SignalSet, set_blocked};
use herm_sys::{Errno, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::call::{Call, Outcome, Row, describe};
use super::complain::USAGE;
use super::environment::container_variable;
use super::tai64n::readable;
use super::zone::Zone;
use directory::Directory;

pub(super) const ROWS: &[Row] = &[
    (
        "s6-log [ -d notif ] [ -q | -v ] [ -b ] [ -p ] [ -l linelimit ] [ -t timeout ] [ -- ] logging_script",
        log,
    ),
    ("logutil-service [ -f fifo ] dir", logutil_service),
];

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How long a line is by default, and at least where it is limited.
const LINE_MAX: usize = 8192;
const LINE_LEAST: usize = 48;
const ALERT: &[u8] = b"s6-log: alert: ";

/// Where an action's lines go.
enum Sink {
    Stdout { gone: bool },
    Stderr(usize),
    Status(Vec<u8>, usize),
    Directory(Box<Directory>),
}

/// A script with its places opened.
struct Logger {
    steps: Vec<Step>,
    /// One for each action, in their order.
    sinks: Vec<Sink>,
    line_max: usize,
    zone: Zone,
}

fn log(call: &mut Call<'_>) -> Outcome {
    let (mut notify, mut patient, mut protected) = (None, false, false);
    let (mut line_max, mut linger) = (LINE_MAX, 2000);
    while let Some(letter) = call.option(b"dqvbplt")? {
        match letter {
            b'd' => notify = Some(call.number()?),
            b'b' => patient = true,
            b'p' => protected = true,
            b'l' => line_max = usize::try_from(call.number()?).unwrap_or(0),
            b't' => linger = call.number()?,
            _ => {}
        }
    }
    if line_max > 0 {
        line_max = line_max.max(LINE_LEAST);
    }
    let ready = match notify {
        None => None,
        Some(number) => {
            let number = i32::try_from(number).ok();
            let fd = number.and_then(herm_sys::exec::take_inherited);
            let bad = || call.fatal(&"-d must be an open descriptor from 3 on", USAGE);
            Some(std::fs::File::from(fd.ok_or_else(bad)?))
        }
    };
    let directives: Vec<&[u8]> = call.rest().iter().map(|word| word.as_bytes()).collect();
    let steps = parse(&directives).map_err(|error| call.fatal(&error, USAGE))?;
    let signals = receive_signals(protected)
        .map_err(|errno| call.refused(&"receive signals", &describe(errno)))?;
    let sinks = open_sinks(call, &steps)?;
    if let Some(mut ready) = ready {
        let _ = ready.write_all(b"\n");
    }
    let mut logger = Logger {
        steps,
        sinks,
        line_max,
        zone: Zone::local(),
    };
    let linger = Some(linger)
        .filter(|ms| *ms > 0)
        .map(|ms| Duration::from_millis(u64::from(ms)));
    logger.run(&signals, patient, linger);
    for sink in &mut logger.sinks {
        if let Sink::Directory(directory) = sink {
            directory.close();
        }
    }
    Ok(0)
}

/// Signals come by descriptor; a reader of standard output that is gone is an error to be told.
fn receive_signals(protected: bool) -> Result<SignalFd, Errno> {
    let mut set = SignalSet::EMPTY.with(Signal::HUP).with(Signal::ALRM);
    if protected {
        signals::ignore(Signal::TERM)?;
    } else {
        set = set.with(Signal::TERM);
    }
    set_blocked(set);
    SignalFd::new(set)
}

fn open_sinks(call: &Call<'_>, steps: &[Step]) -> Result<Vec<Sink>, u8> {
    let mut sinks = Vec::new();
    for step in steps {
        let Step::Act(action) = step else { continue };
        sinks.push(match &action.target {
            Target::Stdout => Sink::Stdout { gone: false },
            Target::Stderr(bytes) => Sink::Stderr(*bytes),
            Target::Status(path, bytes) => Sink::Status(path.clone(), *bytes),
            Target::Directory(path, keep) => {
                let path = Path::new(std::ffi::OsStr::from_bytes(path));
                let opened = Directory::open(path, keep.clone());
                let opened = opened.map_err(|error| {
                    call.refused(
                        &format_args!("open the log directory {}", path.display()),
                        &error,
                    )
                })?;
                Sink::Directory(Box::new(opened))
            }
        });
    }
    Ok(sinks)
}

/// The time in the forms that lines have it, made when first asked for.
struct Stamps {
    now: Duration,
    label: [u8; Tain::LABEL],
    date: Option<String>,
}

impl Stamps {
    fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            now,
            label: Tain::from_unix(now).label(),
            date: None,
        }
    }

    fn date(&mut self, zone: &Zone) -> &str {
        let now = self.now;
        self.date
            .get_or_insert_with(|| readable(now, Some(zone)).unwrap_or_default())
    }
}

impl Logger {
    /// Until the end of input, or a signal and the end of the line at hand.
    fn run(&mut self, signals: &SignalFd, patient: bool, linger: Option<Duration>) {
        let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK.saturating_mul(2));
        let mut ending: Option<Option<Instant>> = None;
        loop {
            if ending.is_some_and(|until| {
                buffer.is_empty() || until.is_some_and(|until| until <= Instant::now())
            }) {
                break;
            }
            let stuck = self.retry();
            let reads = stuck.is_none() || !patient;
            let until = ending.flatten();
            match self.wait(signals, reads, [stuck, until]) {
                Woken::Signals => {
                    while let Ok(Some(received)) = signals.read() {
                        if received.signal == Signal::ALRM {
                            self.rotate();
                        } else {
                            ending = Some(linger.and_then(|time| Instant::now().checked_add(time)));
                        }
                    }
                }
                Woken::Input => {
                    // At the end, what follows the line at hand is left to who reads next.
                    let wanted = if ending.is_some() { 1 } else { CHUNK };
                    let start = buffer.len();
                    buffer.resize(start.saturating_add(wanted), 0);
                    let read = rustix::io::read(
                        rustix::stdio::stdin(),
                        buffer.get_mut(start..).unwrap_or_default(),
                    );
                    buffer.truncate(start.saturating_add(*read.as_ref().unwrap_or(&0)));
                    match read {
                        // A line without its end is no line.
                        Ok(0) => return self.flush(),
                        Ok(_) => self.take_lines(&mut buffer),
                        Err(Errno::INTR | Errno::AGAIN) => {}
                        Err(_) => return self.flush(),
                    }
                }
                Woken::Time => {}
            }
        }
        if !buffer.is_empty() {
            let mut stamps = Stamps::new();
            self.line(&buffer, &mut stamps);
        }
        self.flush();
    }

    fn wait(&self, signals: &SignalFd, reads: bool, until: [Option<Instant>; 2]) -> Woken {
        let stdin = rustix::stdio::stdin();
        let mut fds = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(
                &stdin,
                if reads {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                },
            ),
        ];
        let until = until
            .into_iter()
            .flatten()
            .chain(self.next_rotation())
            .min();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(_) => Woken::Time,
            Ok(_) => {
                let [signals, _] = &fds;
                if signals.revents().is_empty() {
                    Woken::Input
                } else {
                    Woken::Signals
                }
            }
        }
    }

    fn next_rotation(&self) -> Option<Instant> {
        let directories = self.sinks.iter().filter_map(|sink| match sink {
            Sink::Directory(directory) => directory.rotates_at(),
            _ => None,
        });
        directories.min()
    }

    /// Tries again what has failed and what is due; the time of the next try.
    fn retry(&mut self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for sink in &mut self.sinks {
            if let Sink::Directory(directory) = sink {
                next = next.into_iter().chain(directory.go_on()).min();
            }
        }
        next
    }

    fn rotate(&mut self) {
        for sink in &mut self.sinks {
            if let Sink::Directory(directory) = sink {
                directory.rotate();
            }
        }
    }

    fn flush(&mut self) {
        for sink in &mut self.sinks {
            if let Sink::Directory(directory) = sink {
                directory.flush();
            }
        }
    }

    /// Handles the whole lines in the buffer, and leaves the rest there.
    fn take_lines(&mut self, buffer: &mut Vec<u8>) {
        let mut stamps = Stamps::new();
        let mut done = 0;
        while let Some(rest) = buffer.get(done..) {
            let end = memchr::memchr2(b'\n', 0, rest);
            let length = end.unwrap_or(rest.len());
            if self.line_max > 0 && length > self.line_max {
                self.line(rest.get(..self.line_max).unwrap_or_default(), &mut stamps);
                done = done.saturating_add(self.line_max);
                continue;
            }
            let Some(end) = end else { break };
            self.line(rest.get(..end).unwrap_or_default(), &mut stamps);
            done = done.saturating_add(end).saturating_add(1);
        }
        buffer.drain(..done);
        self.flush();
    }

    fn line(&mut self, line: &[u8], stamps: &mut Stamps) {
        let (mut selected, mut handled) = (true, false);
        let mut sinks = self.sinks.iter_mut();
        for step in &self.steps {
            match step {
                Step::Select(pattern) => selected = selected || pattern.matches(line),
                Step::Deselect(pattern) => selected = selected && !pattern.matches(line),
                Step::SelectUnhandled => selected = !handled,
                Step::Act(action) => {
                    let Some(sink) = sinks.next() else { return };
                    if !selected {
                        continue;
                    }
                    handled = true;
                    let mut head = Vec::new();
                    if action.labelled {
                        head.extend_from_slice(&stamps.label);
                        head.push(b' ');
                    }
                    if action.dated {
                        head.extend_from_slice(stamps.date(&self.zone).as_bytes());
                        head.extend_from_slice(b"  ");
                    }
                    if !action.prefix.is_empty() {
                        head.extend_from_slice(&action.prefix);
                        head.push(b' ');
                    }
                    sink.put(&head, line);
                }
            }
        }
    }
}

/// What there is to do.
enum Woken {
    Input,
    Signals,
    Time,
}

impl Sink {
    fn put(&mut self, head: &[u8], line: &[u8]) {
        match self {
            Self::Directory(directory) => directory.put(head, line),
            Self::Stdout { gone } => {
                let written = std::io::stdout().write_all(&[head, line, b"\n"].concat());
                // On an error it is not tried again.
                *gone = *gone || written.is_err();
            }
            Self::Stderr(bytes) => {
                let mut text = [head, line].concat();
                if *bytes > 0 && text.len() > bytes.saturating_add(3) {
                    text.truncate(*bytes);
                    text.extend_from_slice(b"...");
                }
                let _ = std::io::stderr().write_all(&[ALERT, &text, b"\n"].concat());
            }
            Self::Status(path, bytes) => {
                let mut text = [head, line].concat();
                if *bytes > 0 {
                    text.resize(*bytes, b'\n');
                } else {
                    text.push(b'\n');
                }
                let path = Path::new(std::ffi::OsStr::from_bytes(path));
                let mut new = path.as_os_str().to_owned();
                new.push(".new");
                let _ = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
            }
        }
    }
}

/// s6-overlay's way to a log directory: as nobody, without an environment, by `S6_LOGGING_SCRIPT`.
fn logutil_service(call: &mut Call<'_>) -> Outcome {
    let mut fifo = None;
    while call.option(b"f")?.is_some() {
        fifo = Some(call.argument()?.to_owned());
    }
    let dir = call.word()?.to_owned();
    let script = container_variable(call, "S6_LOGGING_SCRIPT".as_ref());
    let script = script.map(|text| String::from_utf8_lossy(&text).into_owned());
    let script = script.filter(|text| !text.trim().is_empty());
    let script = script.unwrap_or_else(|| "n20 s1000000 T".to_owned());
    let mut argv: Vec<OsString> = Vec::new();
    if let Some(fifo) = fifo {
        argv.extend(["redirfd", "-rnb", "0"].map(OsString::from));
        argv.push(fifo);
    }
    let users = herm_sys::users::Users::load().unwrap_or_default();
    let nobody = users.by_name("nobody").map_or("65534:65534", |_| "nobody");
    argv.extend(["s6-setuidgid", nobody, "exec", "-c", "s6-log", "-b", "--"].map(OsString::from));
    argv.extend(script.split_ascii_whitespace().map(OsString::from));
    argv.push(dir);
    call.exec(&argv)
}

#[cfg(test)]
mod tests;
