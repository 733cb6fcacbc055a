//! What has happened, by the history in the home.

use std::time::{Duration, Instant, SystemTime};

use herm_dashboard::history::{Boot, Moment, Reader};
use herm_home::Home;
use herm_home::watch::Watch;
use herm_wire::time::rfc3339;
use serde::Serialize;

use super::{Printer, is_named, profile_of, short};
use crate::cli::{EventsArgs, Since};
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::output::{Tone, cause, tone_of_word};

/// Lines shown where neither `-n` nor `--since` is given.
const DEFAULT_LINES: usize = 50;

/// How long a history that is behind is waited for: it is written a quarter of a second after what
/// happened, unless the disk is slow or full.
const BEHIND: Duration = Duration::from_secs(5);

/// Something that is kept.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    Moment(Moment),
    Boot(BootLine),
}

/// A boot as a line.
#[derive(Debug, Serialize)]
struct BootLine {
    at: String,
    at_ms: i64,
    instance: String,
    /// `boot`.
    kind: &'static str,
    /// What the boot did with the profiles.
    words: String,
}

impl Entry {
    fn at_ms(&self) -> i64 {
        match self {
            Self::Moment(moment) => moment.at_ms,
            Self::Boot(boot) => boot.at_ms,
        }
    }
}

/// Prints it, oldest first; the number of the supervisor's last event that is in it. What has happened
/// is written a moment later, by the keeper: what the supervisor has told so far is waited for.
pub(super) fn print(
    context: &Context,
    args: &EventsArgs,
    printer: &mut Printer<'_>,
    told: Option<(&str, u64)>,
) -> Outcome<u64> {
    let Some((reader, reach)) = reader(context.home(), told)? else {
        nothing_kept(context, printer)?;
        return Ok(0);
    };
    let since_ms = args
        .since
        .map_or(0, |since| unix_ms(since, SystemTime::now()));
    let moments = reader
        .moments_since(since_ms)
        .map_err(|error| unreadable(&error))?;
    let boots = reader.boots().map_err(|error| unreadable(&error))?;
    // Who writes waits for us no longer.
    drop(reader);
    let entries = chosen(moments, boots, since_ms, args);
    if entries.is_empty() && !printer.json {
        printer.out.line("Nothing is kept of that time.")?;
    }
    for entry in &entries {
        if printer.json {
            printer.json(entry)?;
        } else {
            show(printer, entry)?;
        }
    }
    printer.out.flush()?;
    Ok(reach)
}

/// The history at one moment, and how far it reaches: as far as was told, unless nobody writes it.
fn reader(home: &Home, told: Option<(&str, u64)>) -> Outcome<Option<(Reader, u64)>> {
    let deadline = Instant::now() + BEHIND;
    let mut watch = None;
    loop {
        let found = Reader::open(home).map_err(|error| unreadable(&error))?;
        let reach = match (&found, told) {
            (Some(reader), Some((instance, _))) => reader.freeze(instance),
            _ => Ok(0),
        };
        let reach = reach.map_err(|error| unreadable(&error))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let is_whole = told.is_none_or(|(_, seq)| reach >= seq);
        if is_whole || left.is_zero() {
            if !is_whole {
                eprintln!(
                    "herm: the last of what happened is not in the history yet: the disk is slow or full"
                );
            }
            return Ok(found.map(|reader| (reader, reach)));
        }
        // Else whoever writes it would wait for us.
        drop(found);
        match &mut watch {
            Some(watch) => wait(watch, left)?,
            // It may have been written before it is watched.
            None => watch = Some(watched(home)?),
        }
    }
}

fn watched(home: &Home) -> Outcome<Watch> {
    let mut watch = Watch::new().map_err(home_failure)?;
    watch.follow_dir(&home.herm_dir()).map_err(home_failure)?;
    Ok(watch)
}

fn wait(watch: &mut Watch, left: Duration) -> Outcome {
    watch.wait_at_most(left).map(drop).map_err(home_failure)
}

fn unreadable(error: &impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the history can't be read: {error}"))
        .hint("it may be deleted (.herm/history.db in the home): a new one is begun")
}

fn nothing_kept(context: &Context, printer: &mut Printer<'_>) -> Outcome {
    if !printer.json {
        let home = context.home().root().display();
        printer.out.line(format!(
            "Nothing is kept in {home} yet: a supervisor with a keeper does that."
        ))?;
    }
    printer.out.flush()
}

fn chosen(moments: Vec<Moment>, boots: Vec<Boot>, since_ms: i64, args: &EventsArgs) -> Vec<Entry> {
    let named =
        |moment: &Moment| is_named(&args.names, &moment.service, profile_of(&moment.service));
    let mut entries: Vec<Entry> = boots
        .into_iter()
        .filter(|boot| boot.at_ms >= since_ms)
        .map(|boot| Entry::Boot(told(boot)))
        .chain(moments.into_iter().filter(named).map(Entry::Moment))
        .collect();
    entries.sort_by_key(Entry::at_ms);
    let lines = args
        .lines
        .or_else(|| args.since.is_none().then_some(DEFAULT_LINES));
    let surplus = lines.map_or(0, |lines| entries.len().saturating_sub(lines));
    entries.drain(..surplus);
    entries
}

/// What the boot log says of each profile (`… profile=a prior_state=… action=started`), gathered.
fn told(boot: Boot) -> BootLine {
    let with = |wanted: &str| {
        let names = boot.restored.lines().filter_map(|line| {
            let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
            (field("action=")? == wanted).then(|| field("profile="))?
        });
        names.collect::<Vec<&str>>()
    };
    let parts = ["started", "registered", "skipped"]
        .into_iter()
        .filter_map(|action| {
            let names = with(action);
            (!names.is_empty()).then(|| format!("{action} {}", names.join(", ")))
        });
    let words = parts.collect::<Vec<String>>().join("; ");
    BootLine {
        at: rfc3339(boot.at_ms),
        at_ms: boot.at_ms,
        instance: boot.instance,
        kind: "boot",
        words,
    }
}

fn show(printer: &mut Printer<'_>, entry: &Entry) -> Outcome {
    let moment = match entry {
        Entry::Boot(boot) => {
            return printer.line(&boot.at, "herm", ("booted", Tone::Bold), &boot.words);
        }
        Entry::Moment(moment) => moment,
    };
    let end = match (moment.code, moment.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => String::new(),
    };
    let (what, tone) = match moment.kind.as_str() {
        "exit" if moment.code == Some(0) => (end.as_str(), Tone::Dim),
        "exit" => (end.as_str(), Tone::Bad),
        "restart" => ("restarted", Tone::Busy),
        "order" => ("ordered", Tone::Bold),
        _ => (moment.state.as_str(), tone_of_word(&moment.state)),
    };
    printer.line(
        &moment.at,
        short(&moment.service),
        (what, tone),
        &cause(&moment.words),
    )
}

fn unix_ms(since: Since, now: SystemTime) -> i64 {
    herm_home::clock::unix_seconds(since.time(now)).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use herm_dashboard::history::Recorder;
    use herm_wire::EventBody;

    use super::*;

    fn moment(at_ms: i64, service: &str) -> Moment {
        Moment {
            id: at_ms,
            at: rfc3339(at_ms),
            at_ms,
            instance: "i".into(),
            kind: "state".into(),
            service: service.into(),
            state: "running".into(),
            words: "ready".into(),
            code: None,
            signal: None,
        }
    }

    fn args(names: &[&str], lines: Option<usize>) -> EventsArgs {
        EventsArgs {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            follow: false,
            lines,
            since: None,
            format: crate::cli::Format { json: false },
        }
    }

    fn boot(at_ms: i64) -> Boot {
        Boot {
            instance: "i".into(),
            at_ms,
            report: "{}".into(),
            restored: "2026-11-20T20:30:10Z profile=default prior_state=None action=registered\n\
                       2026-11-20T20:30:10Z profile=a prior_state=running action=started\n\
                       2026-11-20T20:30:10Z profile=b prior_state=running action=started"
                .into(),
        }
    }

    #[test]
    fn what_was_told_is_waited_for_until_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let recorder = Recorder::start(dir.path());
        let removed = EventBody::Removed {
            name: "web".into(),
            withdrawn: false,
        };
        for seq in [1, 2] {
            recorder.event(("i", seq), &BTreeMap::new(), &removed);
            let (reader, reach) = reader(&home, Some(("i", seq))).unwrap().unwrap();
            assert_eq!(reach, seq);
            assert_eq!(reader.moments_since(0).unwrap().len() as u64, seq);
        }
        assert!(reader(&home, None).unwrap().is_some(), "nobody writes it");
    }

    #[test]
    fn a_boot_stands_among_what_happened_and_says_what_it_restored() {
        let moments = vec![moment(1, "gateway-a"), moment(3, "gateway-a")];
        let entries = chosen(moments, vec![boot(2)], 0, &args(&[], None));
        assert!(entries.is_sorted_by_key(Entry::at_ms));
        let Entry::Boot(line) = &entries[1] else {
            panic!("{entries:?}");
        };
        assert_eq!(line.words, "started a, b; registered default");
    }

    #[test]
    fn the_last_lines_of_the_services_that_are_named_are_chosen() {
        let moments: Vec<Moment> = (0..9)
            .flat_map(|at| [moment(at, "gateway-a"), moment(at, "web")])
            .collect();
        let entries = chosen(moments, vec![], 0, &args(&["a"], Some(2)));
        let at: Vec<i64> = entries.iter().map(Entry::at_ms).collect();
        assert_eq!(at, [7, 8]);
    }
}
