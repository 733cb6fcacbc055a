//! `cargo xtask counts`: how many instructions the hot paths take, held against what they took.
//!
//! The machine's mood does not change them, so a slower path fails the check as a wrong result does. The
//! paths are tests that mark what counts (`counted` of `herm-testkit`); callgrind counts there, and in
//! what is called from there. The counts that hold are in the repository; the compiler, the C library
//! and valgrind have their share in them, so others than those of the file are shown and not judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::dist::target_directory;
use crate::host;
use crate::run::{capture, cargo, command, executable, root};

/// What `cargo xtask counts` can be told.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Take today's counts as those that hold from now on
    #[arg(long)]
    accept: bool,
}

/// Where the counts that hold are kept.
const FILE: &str = "bench/counts.json";

/// How much a path may be slower. Addresses differ from run to run, and with them how the C library
/// copies; so does in how many pieces a long answer leaves.
const TOLERANCE: f64 = 0.05;

/// What counts is in functions of this name, and in what they call.
const MARK: &str = "*herm_testkit*counted*";

/// Tests of one binary.
struct Suite {
    package: &'static str,
    /// Which of the package's test binaries.
    target: &'static [&'static str],
    /// rustix asks the kernel for the vDSO's place, which valgrind has taken out of the memory; the C
    /// library knows better.
    features: &'static [&'static str],
    /// Names of tests, with the module they are in.
    paths: &'static [&'static str],
}

const SUITES: &[Suite] = &[
    Suite {
        package: "herm-engine",
        target: &["--test", "engine"],
        features: &[],
        paths: &["hot_paths::a_thousand_services_that_crash_are_started_again"],
    },
    Suite {
        package: "herm-init",
        target: &["--lib"],
        features: &["--features", "rustix/use-libc-auxv"],
        paths: &[
            "pid1::event_loop::hot_paths::a_thousand_services_are_registered",
            "pid1::event_loop::hot_paths::the_status_of_a_thousand_services_is_told",
            "pid1::event_loop::hot_paths::a_thousand_requests_are_answered",
            "logd::pump::hot_paths::a_megabyte_of_lines_is_logged",
            "applets::log::tests::a_megabyte_of_lines_is_stamped_and_kept",
        ],
    },
];

/// Instructions by the path's name.
type Counts = BTreeMap<String, u64>;

/// What was counted, and with what.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    tools: String,
    counts: Counts,
}

impl Record {
    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let tools = value["tools"].as_str().context("no `tools`")?.to_owned();
        let counts = value["counts"].as_object().context("no `counts`")?;
        let count = |(name, count): (&String, &Value)| {
            let count = count.as_u64().context("a count is no number")?;
            Ok((name.clone(), count))
        };
        Ok(Self {
            tools,
            counts: counts.iter().map(count).collect::<Result<_>>()?,
        })
    }

    fn text(&self) -> Result<String> {
        let value = json!({"tools": self.tools, "counts": self.counts});
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

/// Counts, and compares or accepts.
pub(crate) fn counts(options: &Options) -> Result<()> {
    host::install_programs(&[("valgrind", "valgrind")])?;
    let now = Record {
        tools: tools()?,
        counts: count()?,
    };
    let path = root().join(FILE);
    if options.accept {
        fs::write(&path, now.text()?).with_context(|| format!("could not write {FILE}"))?;
        println!("wrote {FILE}");
        return Ok(());
    }
    let held = fs::read_to_string(&path).with_context(|| format!("could not read {FILE}"))?;
    let held = Record::parse(&held).with_context(|| format!("{FILE} makes no sense"))?;
    judge(&held, &now)
}

/// The compiler, the machine, the C library and valgrind: others count differently.
fn tools() -> Result<String> {
    let first = |program: &str, args: &[&str]| -> Result<String> {
        let text = capture(&mut command(program, args))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    let wide = fs::read_to_string("/proc/cpuinfo")
        .unwrap_or_default()
        .contains("avx2");
    Ok(format!(
        "{}, {}{}, {}, {}",
        first("rustc", &["--version"])?,
        std::env::consts::ARCH,
        if wide { " with AVX2" } else { "" },
        first("ldd", &["--version"])?,
        first("valgrind", &["--version"])?,
    ))
}

fn count() -> Result<Counts> {
    let directory = target_directory().join("counts");
    fs::create_dir_all(&directory).context("could not create target/counts")?;
    let mut counts = Counts::new();
    for suite in SUITES {
        let binary = build(suite)?;
        for path in suite.paths {
            let profile = directory.join(path.replace("::", "."));
            run(&binary, path, &profile)?;
            let instructions = total(&fs::read_to_string(&profile)?)
                .with_context(|| format!("callgrind counted nothing in {path}"))?;
            counts.insert((*path).to_owned(), instructions);
        }
    }
    Ok(counts)
}

/// Builds a suite's test binary and says where it is.
fn build(suite: &Suite) -> Result<PathBuf> {
    let mut build = cargo(&["test", "--locked", "--no-run", "--profile", "counted"]);
    build
        .args(["--message-format", "json", "--package", suite.package])
        .args(suite.target)
        .args(suite.features);
    println!("building the hot paths of {}", suite.package);
    executable(&mut build)
}

/// Runs one test under callgrind, with an environment that is the same everywhere.
fn run(binary: &Path, test: &str, profile: &Path) -> Result<()> {
    let mut valgrind = command("valgrind", &["--tool=callgrind", "--quiet"]);
    valgrind
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg(format!("--toggle-collect={MARK}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(binary)
        .args(["--exact", test, "--test-threads=1"]);
    let output = capture(&mut valgrind)?;
    ensure!(
        output.contains("1 passed"),
        "there is no test {test} any more, or it failed:\n{output}"
    );
    Ok(())
}

/// The sum in callgrind's profile; `None` where it collected nothing.
fn total(profile: &str) -> Option<u64> {
    let sum = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals:"))?;
    sum.trim().parse().ok().filter(|sum| *sum > 0)
}

/// What became of one path.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Change {
    New,
    Gone,
    Slower,
    Faster,
    Same,
}

fn change(held: Option<u64>, now: Option<u64>) -> Change {
    #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
    let ratio = |held: u64, now: u64| now as f64 / held as f64;
    match (held, now) {
        (None, _) => Change::New,
        (_, None) => Change::Gone,
        (Some(held), Some(now)) if ratio(held, now) > 1.0 + TOLERANCE => Change::Slower,
        (Some(held), Some(now)) if ratio(held, now) < 1.0 - TOLERANCE => Change::Faster,
        _ => Change::Same,
    }
}

fn judge(held: &Record, now: &Record) -> Result<()> {
    let mut wrong = Vec::new();
    let mut gained = false;
    let names: std::collections::BTreeSet<&String> =
        held.counts.keys().chain(now.counts.keys()).collect();
    for name in names {
        let (before, after) = (held.counts.get(name), now.counts.get(name));
        let change = change(before.copied(), after.copied());
        let text = |count: Option<&u64>| count.map_or("none".to_owned(), u64::to_string);
        println!(
            "{:>12} -> {:>12}  {}",
            text(before),
            text(after),
            name.replace('_', " ")
        );
        gained |= change == Change::Faster;
        if !matches!(change, Change::Same | Change::Faster) {
            let word = format!("{change:?}").to_lowercase();
            wrong.push(format!("{name} ({word})"));
        }
    }
    if held.tools != now.tools {
        println!(
            "not judged: {FILE} was counted with {}, and this is {}",
            held.tools, now.tools
        );
        return Ok(());
    }
    if !wrong.is_empty() {
        bail!(
            "more than {} % slower than {FILE} says, or not in it: {}. The profiles are in target/counts \
             (callgrind_annotate FILE). Where the change is worth it, `cargo xtask counts --accept`",
            TOLERANCE * 100.0,
            wrong.join(", ")
        );
    }
    if gained {
        println!("some are faster now: `cargo xtask counts --accept` keeps it so");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tools: &str, counts: &[(&str, u64)]) -> Record {
        let counts = counts.iter();
        Record {
            tools: tools.to_owned(),
            counts: counts.map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        }
    }

    #[test]
    fn a_slower_path_fails_and_says_how_to_accept_it() {
        let held = record("a", &[("x", 1000), ("y", 1000)]);
        let slower = record("a", &[("x", 1051), ("y", 1000)]);
        let error = judge(&held, &slower).unwrap_err().to_string();
        assert!(
            error.contains("x (slower)")
                && !error.contains("y (")
                && error.contains("counts --accept")
        );
        judge(&held, &record("a", &[("x", 1049), ("y", 500)])).unwrap();
    }

    #[test]
    fn a_path_that_is_not_counted_any_more_or_not_yet_kept_fails() {
        let (one, none) = (record("a", &[("x", 1)]), record("a", &[]));
        judge(&one, &none).unwrap_err();
        judge(&none, &one).unwrap_err();
    }

    #[test]
    fn counts_of_other_tools_are_not_judged() {
        judge(&record("a", &[("x", 1000)]), &record("b", &[("x", 9000)])).unwrap();
    }

    #[test]
    fn what_is_written_is_read_again() {
        let record = record("a", &[("x", 1)]);
        assert_eq!(Record::parse(&record.text().unwrap()).unwrap(), record);
    }

    #[test]
    fn a_profile_without_instructions_is_no_count() {
        assert_eq!(
            total("events: Ir\nsummary: 7\n\ntotals: 1234\n"),
            Some(1234)
        );
        assert_eq!(total("totals: 0\n"), None);
    }

    #[test]
    fn every_path_that_is_counted_is_in_the_file() {
        let held = fs::read_to_string(root().join(FILE)).unwrap();
        let held = Record::parse(&held).unwrap();
        let mut names: Vec<&str> = SUITES
            .iter()
            .flat_map(|suite| suite.paths)
            .copied()
            .collect();
        names.sort_unstable();
        assert_eq!(held.counts.keys().collect::<Vec<_>>(), names);
    }
}
