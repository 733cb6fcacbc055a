//! `herm logs`: the kept copies, across rotated files, interleaved by time.
//!
//! A log directory has `current` and older files whose names are the time at which each was
//! rotated out, so names sort by age. Every line begins with its time.

mod follow;
mod pick;
mod read;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use herm_home::ProfileName;
use herm_wire::{ExitCode, ServiceView};
use serde::Serialize;

pub(crate) use pick::{Pattern, pattern};

use super::named_service;
use crate::cli::{Format, LogView, Since};
use crate::client::Client;
use crate::context::{Context, no_supervisor, parse_name};
use crate::failure::{Failure, Outcome};
use crate::output::{Out, Tone, level_of, safe};

/// Lines shown where neither `-n` nor `--since` is given.
const DEFAULT_LINES: usize = 100;

/// One log and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    name: String,
    dir: PathBuf,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LogLine {
    /// Whose.
    service: String,
    /// When, as the log has it; sorts as text.
    at: String,
    /// The line itself.
    line: String,
}

/// Prints logs.
pub(super) fn run(context: &Context, names: &[String], view: &LogView, format: Format) -> Outcome {
    let client = context.open()?;
    let names = if names.is_empty() {
        vec![context.profile()?.to_string()]
    } else {
        names.to_vec()
    };
    show(&find(context, client, &names)?, view, format)
}

/// Follows a profile's log from now on.
pub(super) fn follow_profile(context: &Context, profile: &ProfileName) -> Outcome {
    let source = Source {
        name: profile.to_string(),
        dir: context.home().gateway_log_dir(profile),
    };
    let view = LogView {
        follow: true,
        lines: Some(0),
        since: None,
        grep: None,
    };
    show(&[source], &view, Format { json: false })
}

/// The last lines of a log since a time, without their times; nothing where there is none.
pub(super) fn last_lines(dir: &Path, count: usize, since: &str) -> Vec<String> {
    let source = Source {
        name: String::new(),
        dir: dir.to_owned(),
    };
    let lines = read::tail(&source, Some(count), Some(since)).unwrap_or_default();
    lines.into_iter().map(|line| line.line).collect()
}

/// The last line of a service's last run, as far as that is kept.
pub(super) fn last_line(service: &ServiceView) -> Option<String> {
    let exit = service.last_exit.as_ref()?;
    let ended = herm_home::clock::parse(&exit.at)?;
    // The time of the end has no fraction here, so the run may have begun within the second before.
    let ran = Duration::try_from_secs_f64(exit.after_s).ok()? + Duration::from_secs(1);
    let since = bound(Since::At(ended.checked_sub(ran)?), ended);
    let dir = Path::new(service.log_dir.as_deref()?);
    last_lines(dir, 1, &since).pop()
}

/// The end of one log and what is added to it, for `herm top`.
pub(crate) struct LogTail(follow::Follower);

impl LogTail {
    /// Lines that are given at the beginning.
    const LINES: usize = 200;

    /// The last lines that are there now, and what gives those that come.
    pub(crate) fn begin(dir: &Path) -> Outcome<(Self, Vec<String>)> {
        let source = Source {
            name: String::new(),
            dir: dir.to_owned(),
        };
        let mut follower = follow::Follower::new()?;
        let held = follower.add(&source)?;
        let lines = read::tail_of(&source, held, Some(Self::LINES), None)?;
        Ok((Self(follower), texts(lines)))
    }

    /// Those that have come since.
    pub(crate) fn new_lines(&mut self) -> Outcome<Vec<String>> {
        self.0.take().map(texts)
    }
}

fn texts(lines: Vec<LogLine>) -> Vec<String> {
    let text = |line: LogLine| match line.at.get(11..19) {
        Some(time) => format!("{time} {}", line.line),
        None => line.line,
    };
    lines.into_iter().map(text).collect()
}

fn show(sources: &[Source], view: &LogView, format: Format) -> Outcome {
    let lines = view
        .lines
        .or_else(|| view.since.is_none().then_some(DEFAULT_LINES));
    let since = view.since.map(|since| bound(since, SystemTime::now()));
    let mut printer = Printer {
        out: Out::stdout(),
        named: sources.len() > 1,
        json: format.json,
        grep: view.grep.clone(),
    };
    let mut follower = view.follow.then(follow::Follower::new).transpose()?;
    let mut shown = Vec::new();
    for source in sources {
        // What is shown and what follows are of one moment, so that no line falls between them.
        let held = match &mut follower {
            Some(follower) => follower.add(source)?,
            None => read::hold(source)?,
        };
        // Which lines are the last ones is known after those that don't match are gone.
        let read = lines.filter(|_| view.grep.is_none());
        shown.extend(read::tail_of(source, held, read, since.as_deref())?);
    }
    shown.retain(|line| printer.picks(line));
    shown.sort_by(|a, b| a.at.cmp(&b.at));
    let surplus = lines.map_or(0, |count| shown.len().saturating_sub(count));
    printer.print(shown.get(surplus..).unwrap_or_default())?;
    match follower {
        Some(follower) => follower.run(|lines| printer.print(lines)),
        None => Ok(()),
    }
}

/// The earliest time shown, in the text form of the log's own times.
fn bound(since: Since, now: SystemTime) -> String {
    // Without the Z a time sorts before the same second with a fraction.
    herm_home::clock::rfc3339(since.time(now))
        .trim_end_matches('Z')
        .to_owned()
}

struct Printer {
    out: Out,
    named: bool,
    json: bool,
    grep: Option<Pattern>,
}

impl Printer {
    fn picks(&self, line: &LogLine) -> bool {
        self.grep
            .as_ref()
            .is_none_or(|grep| grep.matches(&line.line))
    }

    fn print(&mut self, lines: &[LogLine]) -> Outcome {
        for line in lines {
            if !self.picks(line) {
                continue;
            }
            if self.json {
                self.out.json_line(line)?;
                continue;
            }
            let at = self.out.paint(&line.at, Tone::Dim);
            let name = if self.named {
                format!("{} | ", line.service)
            } else {
                String::new()
            };
            let space = if line.at.is_empty() { "" } else { " " };
            let text = if self.out.has_colours() {
                self.out.paint(&safe(&line.line), level_of(&line.line))
            } else {
                line.line.clone()
            };
            self.out.line(format!("{at}{space}{name}{text}"))?;
        }
        self.out.flush()
    }
}

/// Where each name's log is: the supervisor knows, and for profiles the home's layout says so too.
fn find(context: &Context, mut client: Option<Client>, names: &[String]) -> Outcome<Vec<Source>> {
    let mut sources: Vec<Source> = Vec::new();
    for name in names {
        let dir = match &mut client {
            Some(client) => supervised_dir(client, name)?,
            None => profile_dir(context, name)?,
        };
        let source = Source {
            name: name.clone(),
            dir,
        };
        if !sources.iter().any(|known| known.dir == source.dir) {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn supervised_dir(client: &mut Client, name: &str) -> Outcome<PathBuf> {
    let service = named_service(client, name)?;
    // As PID 1 it is a container's.
    let place = if client.hello().pid == 1 {
        "see the container's own log (`docker logs`)"
    } else {
        "it is on the terminal of `herm up`"
    };
    service.log_dir.map(PathBuf::from).ok_or_else(|| {
        Failure::failed(format!("the output of {name} is not kept, only forwarded")).hint(place)
    })
}

fn profile_dir(context: &Context, name: &str) -> Outcome<PathBuf> {
    let profile = parse_name(name.strip_prefix("gateway-").unwrap_or(name))?;
    let dir = context.home().gateway_log_dir(&profile);
    if dir.is_dir() {
        return Ok(dir);
    }
    context.check_exists(&profile)?;
    Err(Failure {
        message: format!("{profile} has no log yet"),
        ..no_supervisor(context.home().root(), ExitCode::Failed)
    })
}
