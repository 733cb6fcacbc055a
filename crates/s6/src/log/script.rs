//! The directives of a logging script, in their order.

use alloc::string::String;
use alloc::vec::Vec;

use super::regex::Regex;

/// What is done with a line that comes to an action.
#[derive(Clone, Debug)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error, as an alert of at most so many bytes (0: any).
    Stderr(usize),
    /// This file is replaced by it, with so many bytes (0: as many as it has).
    Status(Vec<u8>, usize),
    /// It is kept in this directory.
    Directory(Vec<u8>, Keep),
}

/// How a directory keeps lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Archives kept.
    pub archives: usize,
    /// Bytes at which `current` becomes an archive.
    pub file_bytes: u64,
    /// So many fewer are enough.
    pub tolerance: u64,
    /// Bytes that all archives may have; 0: any.
    pub total_bytes: u64,
    /// Milliseconds until something that failed is tried again.
    pub retry_ms: u32,
    /// Seconds after which it becomes an archive anyhow; 0: never.
    pub every_s: u32,
    /// A command that archives go through.
    pub processor: Option<Processor>,
}

/// A command that archives go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processor {
    /// An execline command line.
    Execline(Vec<u8>),
    /// A shell's.
    Shell(Vec<u8>),
}

/// An action and how its lines look.
#[derive(Clone, Debug)]
pub struct Action {
    /// Where to.
    pub target: Target,
    /// A TAI64N label in front.
    pub labelled: bool,
    /// A readable time in front.
    pub dated: bool,
    /// What is put in front, with a blank after it.
    pub prefix: Vec<u8>,
}

/// A step of the script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Lines that match are selected.
    Select(Regex),
    /// Lines that match are not selected any more.
    Deselect(Regex),
    /// Lines that nothing has been done with are selected, and no others.
    SelectUnhandled,
    /// Selected lines go there.
    Act(Action),
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadScript {
    /// This directive is none.
    Directive(String),
    /// Nothing is done with any line.
    NoAction,
}

impl core::fmt::Display for BadScript {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Directive(text) => write!(f, "unrecognized or bad directive: {text}"),
            Self::NoAction => f.write_str("no action directive"),
        }
    }
}

const FILE_BYTES: (u64, u64) = (4096, 268_435_455);

/// What directives have set for the actions that follow.
struct Settings {
    keep: Keep,
    alert_bytes: usize,
    status_bytes: usize,
    prefix: Vec<u8>,
    labelled: bool,
    dated: bool,
}

/// Reads a script.
pub fn parse<W: AsRef<[u8]>>(directives: &[W]) -> Result<Vec<Step>, BadScript> {
    let mut settings = Settings {
        keep: Keep {
            archives: 10,
            file_bytes: 99_999,
            tolerance: 2000,
            total_bytes: 0,
            retry_ms: 2000,
            every_s: 0,
            processor: None,
        },
        alert_bytes: 200,
        status_bytes: 1001,
        prefix: Vec::new(),
        labelled: false,
        dated: false,
    };
    let mut steps = Vec::new();
    for directive in directives {
        let text = directive.as_ref();
        let bad = || BadScript::Directive(String::from_utf8_lossy(text).into_owned());
        settings.take(text, &mut steps).ok_or_else(bad)?;
    }
    if !steps.iter().any(|step| matches!(step, Step::Act(_))) {
        return Err(BadScript::NoAction);
    }
    Ok(steps)
}

fn number<N: core::str::FromStr>(text: &[u8]) -> Option<N> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

impl Settings {
    /// Takes a directive: a step, or a setting for those that follow. Nothing if it makes no sense.
    fn take(&mut self, text: &[u8], steps: &mut Vec<Step>) -> Option<()> {
        let (first, rest) = text.split_first()?;
        let keep = &mut self.keep;
        match first {
            b'+' => steps.push(Step::Select(Regex::new(rest).ok()?)),
            b'-' => steps.push(Step::Deselect(Regex::new(rest).ok()?)),
            b'f' if rest.is_empty() => steps.push(Step::SelectUnhandled),
            b'n' => keep.archives = number(rest)?,
            b's' => keep.file_bytes = number::<u64>(rest)?.clamp(FILE_BYTES.0, FILE_BYTES.1),
            b'S' => keep.total_bytes = number(rest)?,
            b'l' => {
                keep.tolerance = number(rest)?;
                if keep.tolerance > keep.file_bytes / 2 {
                    return None;
                }
            }
            b'r' => keep.retry_ms = number(rest)?,
            b'R' => keep.every_s = number(rest)?,
            b'E' => self.alert_bytes = number(rest)?,
            b'^' => self.status_bytes = number(rest)?,
            b'p' => self.prefix = rest.to_vec(),
            b'!' => {
                keep.processor =
                    Some(Processor::Execline(rest.to_vec())).filter(|_| !rest.is_empty());
            }
            b'?' => {
                keep.processor = Some(Processor::Shell(rest.to_vec())).filter(|_| !rest.is_empty());
            }
            b't' if rest.is_empty() => self.labelled = true,
            b'T' if rest.is_empty() => self.dated = true,
            b'1' if rest.is_empty() => steps.push(self.act(Target::Stdout)),
            b'2' if rest.is_empty() => {
                steps.push(self.act(Target::Stderr(self.alert_bytes)));
            }
            b'=' => {
                steps.push(self.act(Target::Status(rest.to_vec(), self.status_bytes)));
            }
            b'/' | b'.' => {
                let keep = keep.clone();
                steps.push(self.act(Target::Directory(text.to_vec(), keep)));
            }
            _ => return None,
        }
        Some(())
    }

    fn act(&mut self, target: Target) -> Step {
        Step::Act(Action {
            target,
            labelled: core::mem::take(&mut self.labelled),
            dated: core::mem::take(&mut self.dated),
            prefix: self.prefix.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(script: &str) -> Vec<Action> {
        let words: Vec<&str> = script.split(' ').collect();
        let steps = parse(&words).unwrap();
        let actions = steps.into_iter().filter_map(|step| match step {
            Step::Act(action) => Some(action),
            _ => None,
        });
        actions.collect()
    }

    #[test]
    fn settings_hold_for_all_that_follows_and_stamps_for_the_next_action() {
        let actions = actions("n20 s1000000 T /var/log/a t 1 s5 pHI ./b");
        let [one, two, three] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        assert!(one.dated && !one.labelled && two.labelled && !three.dated);
        assert!(
            matches!(&one.target, Target::Directory(_, keep) if keep.archives == 20 && keep.file_bytes == 1_000_000)
        );
        assert!(
            matches!(&three.target, Target::Directory(dir, keep) if dir == b"./b" && keep.file_bytes == 4096)
        );
        assert_eq!((&two.prefix[..], &three.prefix[..]), (&b""[..], &b"HI"[..]));
    }

    #[test]
    fn what_is_no_script_is_refused() {
        let wrong = |script: &str| {
            parse(&script.split(' ').collect::<Vec<_>>())
                .map(drop)
                .unwrap_err()
        };
        assert_eq!(wrong("n20 t"), BadScript::NoAction);
        for bad in ["e 1", "n 1", "nx 1", "+( 1", "f1 1", "s9000 l5000 /x", "3"] {
            assert!(matches!(wrong(bad), BadScript::Directive(_)), "{bad}");
        }
    }
}
