//! Two facts about a process from `/proc`: when it began, and what it was called with. Both are
//! readable by everyone.

use std::fs;
use std::path::Path;

/// A process as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Start time in clock ticks since boot: with the pid it names one process for ever.
    pub start_time: u64,
    /// Whether it has ended and waits to be reaped.
    pub zombie: bool,
    /// Its arguments; empty for a zombie or where they can't be read.
    pub argv: Vec<String>,
}

/// Looks at a process; `None` if there is none. `proc` is `/proc`, or a stand-in.
pub fn look(proc: &Path, pid: i32) -> Option<Process> {
    if pid <= 0 {
        return None;
    }
    let dir = proc.join(pid.to_string());
    let (start_time, zombie) = parse_stat(&fs::read(dir.join("stat")).ok()?)?;
    let argv = fs::read(dir.join("cmdline"))
        .map(|bytes| parse_cmdline(&bytes))
        .unwrap_or_default();
    Some(Process {
        start_time,
        zombie,
        argv,
    })
}

/// Field 22 (start time) and 3 (state) of `/proc/<pid>/stat`, proc(5). The second field is the
/// program's name in parentheses and may hold anything, parentheses and spaces included.
fn parse_stat(bytes: &[u8]) -> Option<(u64, bool)> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    Some((fields.nth(18)?.parse().ok()?, zombie))
}

fn parse_cmdline(bytes: &[u8]) -> Vec<String> {
    let words = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_found_with_its_arguments() {
        let me = look(
            Path::new("/proc"),
            i32::try_from(std::process::id()).unwrap(),
        )
        .unwrap();
        assert!(me.start_time > 0 && !me.zombie && !me.argv.is_empty());
        assert_eq!(look(Path::new("/proc"), 0), None);
        assert_eq!(look(Path::new("/proc"), -1), None);
    }

    #[test]
    fn a_program_name_full_of_parentheses_confuses_nobody() {
        let stat = b"7 (a) Z 1 (b)) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 424242 1 1";
        assert_eq!(parse_stat(stat), Some((424_242, false)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            parse_stat(&bytes);
            parse_cmdline(&bytes);
        }
    }
}
