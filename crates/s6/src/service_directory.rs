//! A service directory's files, read as one definition.
//!
//! Which files there are, when they count and what is assumed without them is in s6's
//! `servicedir` page; a file that makes no sense is reported and counts as absent, as there.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::number;

/// Records of deaths are never longer than this.
pub const DEATHS_MAX: u32 = 4096;

/// How a service is started, stopped and cleaned up after, besides its scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The descriptor on which a newline says that it is ready (`notification-fd`).
    pub notification_fd: Option<u32>,
    /// The descriptor that holds a lock for its whole life (`lock-fd`).
    pub lock_fd: Option<u32>,
    /// From the order to go down to KILL (`timeout-kill`); never without it.
    pub timeout_kill: Option<Duration>,
    /// That KILL goes to the process group (`flag-timeout-killpg`).
    pub kill_group: bool,
    /// How long `finish` may run (`timeout-finish`); without end where the file says 0.
    pub timeout_finish: Option<Duration>,
    /// How long it may take to be ready (`timeout-up`, which s6-rc has); without end if it says 0.
    pub start_within: Option<Duration>,
    /// How long its end may take where everything is stopped (`timeout-shutdown`, herm's own).
    pub shutdown_grace: Option<Duration>,
    /// How many deaths are recorded (`max-death-tally`).
    pub deaths: u32,
    /// The signal that brings it down (`down-signal`).
    pub down_signal: u8,
    /// The signal that makes it reload (`reload-signal`).
    pub reload_signal: u8,
    /// It gets a pid namespace of its own (`flag-newpidns`).
    pub new_pid_namespace: bool,
}

const TERM: u8 = 15;
const HUP: u8 = 1;
const TIMEOUT_FINISH: Duration = Duration::from_secs(5);
const DEATHS: u32 = 100;

impl Default for Definition {
    /// That of a directory with no file but `run`.
    fn default() -> Self {
        Self {
            notification_fd: None,
            lock_fd: None,
            timeout_kill: None,
            kill_group: false,
            timeout_finish: Some(TIMEOUT_FINISH),
            start_within: None,
            shutdown_grace: None,
            deaths: DEATHS,
            down_signal: TERM,
            reload_signal: HUP,
            new_pid_namespace: false,
        }
    }
}

/// What a service directory is read with.
pub trait Source {
    /// The beginning of a regular file's content; nothing where there is no such file.
    fn content(&mut self, name: &'static str) -> Option<Vec<u8>>;
    /// The number of a signal by its name, with or without `SIG`, in either case, or its number.
    fn signal(&self, name: &str) -> Option<u8>;
}

impl Definition {
    /// Reads the files. Those that make no sense are named in `bad`.
    pub fn read(source: &mut impl Source, bad: &mut Vec<&'static str>) -> Self {
        let mut definition = Self::default();
        let mut number = |source: &mut _, name| {
            let content = Source::content(source, name)?;
            let number = number::parse(&content);
            if number.is_none() {
                bad.push(name);
            }
            number
        };
        let span = |number: u32| (number > 0).then(|| Duration::from_millis(number.into()));
        // Descriptor 0 is the service's input: it can't be either of them.
        definition.notification_fd = number(source, "notification-fd").filter(|fd| *fd > 0);
        definition.lock_fd = number(source, "lock-fd").filter(|fd| *fd > 0);
        definition.timeout_kill = number(source, "timeout-kill").and_then(span);
        if let Some(timeout) = number(source, "timeout-finish") {
            definition.timeout_finish = span(timeout);
        }
        definition.start_within = number(source, "timeout-up").and_then(span);
        definition.shutdown_grace =
            number(source, "timeout-shutdown").map(|number| Duration::from_millis(number.into()));
        if let Some(deaths) = number(source, "max-death-tally") {
            definition.deaths = deaths.min(DEATHS_MAX);
        }
        let mut signal = |source: &mut _, name, default| {
            let Some(content) = Source::content(source, name) else {
                return default;
            };
            let number = first_word(&content).and_then(|word| Source::signal(source, &word));
            if number.is_none() {
                bad.push(name);
            }
            number.unwrap_or(default)
        };
        definition.down_signal = signal(source, "down-signal", TERM);
        definition.reload_signal = signal(source, "reload-signal", HUP);
        definition.kill_group = source.content("flag-timeout-killpg").is_some();
        definition.new_pid_namespace = source.content("flag-newpidns").is_some();
        definition
    }
}

fn first_word(content: &[u8]) -> Option<String> {
    let line = content.split(|byte| *byte == b'\n').next()?;
    Some(core::str::from_utf8(line).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// A directory with these files.
    struct Files<'a>(&'a [(&'a str, &'a [u8])]);

    impl Source for Files<'_> {
        fn content(&mut self, name: &'static str) -> Option<Vec<u8>> {
            let file = self.0.iter().find(|(own, _)| *own == name);
            file.map(|(_, content)| content.to_vec())
        }
        fn signal(&self, name: &str) -> Option<u8> {
            match name {
                "SIGINT" | "int" | "2" => Some(2),
                _ => None,
            }
        }
    }

    fn read(files: &[(&str, &[u8])]) -> (Definition, Vec<&'static str>) {
        let mut bad = Vec::new();
        (Definition::read(&mut Files(files), &mut bad), bad)
    }

    #[test]
    fn an_empty_directory_has_the_defaults() {
        assert_eq!(read(&[]), (Definition::default(), vec![]));
    }

    #[test]
    fn every_file_counts() {
        let (definition, bad) = read(&[
            ("notification-fd", b"3\n"),
            ("lock-fd", b"4\n"),
            ("timeout-kill", b"2500"),
            ("timeout-finish", b"0\n"),
            ("max-death-tally", b"9999\n"),
            ("down-signal", b"SIGINT\n"),
            ("reload-signal", b"2\n"),
            ("flag-timeout-killpg", b""),
            ("flag-newpidns", b""),
        ]);
        assert_eq!(bad, Vec::<&str>::new());
        assert_eq!(
            definition,
            Definition {
                notification_fd: Some(3),
                lock_fd: Some(4),
                timeout_kill: Some(Duration::from_millis(2500)),
                kill_group: true,
                timeout_finish: None,
                start_within: None,
                shutdown_grace: None,
                deaths: DEATHS_MAX,
                down_signal: 2,
                reload_signal: 2,
                new_pid_namespace: true,
            }
        );
    }

    #[test]
    fn what_makes_no_sense_is_named_and_counts_as_absent() {
        let (definition, bad) = read(&[
            ("notification-fd", b"3 \n"),
            ("timeout-kill", b"soon\n"),
            ("down-signal", b"SIGNOPE\n"),
        ]);
        assert_eq!(bad, ["notification-fd", "timeout-kill", "down-signal"]);
        assert_eq!(definition, Definition::default());
    }

    #[test]
    fn no_timeout_is_no_kill_and_zero_is_none() {
        assert_eq!(read(&[("timeout-kill", b"0\n")]).0.timeout_kill, None);
        assert_eq!(read(&[]).0.timeout_finish, Some(Duration::from_secs(5)));
    }

    proptest! {
        #[test]
        fn any_content_is_read_without_a_panic(content in proptest::collection::vec(any::<u8>(), 0..32)) {
            let files = [("notification-fd", &content[..]), ("down-signal", &content[..])];
            let (definition, _) = read(&files);
            prop_assert_ne!(definition.notification_fd, Some(0));
        }
    }
}
