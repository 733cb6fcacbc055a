//! Edges between crates that must not exist, in one table: checked here, and printed as
//! `docs/reference/dependency-edges.md`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Findings;
use crate::run::{capture, cargo};

/// What a shipped crate may be built on. Its tests may use more.
struct Crate {
    name: &'static str,
    /// Crates of this workspace that it may name.
    may_use: &'static [&'static str],
    /// What must not be linked into it, directly or through others.
    never: &'static [&'static [&'static str]],
    /// The most crates from elsewhere that may be linked into it: a ratchet, to be lowered.
    budget: Option<usize>,
    /// Why, for the page.
    reason: &'static str,
}

const KERNEL: &[&str] = &["libc", "nix", "rustix"];
const CHANCE: &[&str] = &["fastrand", "getrandom", "rand"];
const ASYNC: &[&str] = &["async-std", "futures-util", "mio", "smol", "tokio"];
const HTTP: &[&str] = &["axum", "h2", "http", "hyper", "reqwest", "tower", "ureq"];
const TLS: &[&str] = &[
    "aws-lc-rs",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "rustls",
];
const TEXT: &[&str] = &[
    "fancy-regex",
    "regex",
    "regex-automata",
    "saphyr-parser",
    "serde-saphyr",
    "serde_yaml",
    "serde_yaml_ng",
    "yaml-rust2",
];

const CRATES: &[Crate] = &[
    Crate {
        name: "herm-engine",
        may_use: &[],
        never: &[KERNEL, CHANCE, ASYNC, HTTP, TLS, TEXT, &["serde"]],
        budget: Some(0),
        reason: "decides and does nothing: no input or output, no clock, no randomness, and no format of its own",
    },
    Crate {
        name: "herm-wire",
        may_use: &[],
        never: &[KERNEL, CHANCE, ASYNC, HTTP, TLS, TEXT],
        budget: Some(6),
        reason: "the words of the protocol, for every side of it",
    },
    Crate {
        name: "herm-s6",
        may_use: &[],
        never: &[KERNEL, CHANCE, ASYNC, HTTP, TLS, TEXT, &["serde"]],
        budget: Some(0),
        reason: "formats of the s6 family between bytes and values: it opens nothing and starts nothing",
    },
    Crate {
        name: "herm-sys",
        may_use: &[],
        never: &[CHANCE, ASYNC, HTTP, TLS, TEXT],
        budget: Some(5),
        reason: "the kernel and nothing above it; the only crate with unsafe code",
    },
    Crate {
        name: "herm-init",
        may_use: &["herm-engine", "herm-s6", "herm-sys", "herm-wire"],
        never: &[
            CHANCE,
            ASYNC,
            HTTP,
            TLS,
            TEXT,
            &["clap", "notify", "rusqlite"],
        ],
        budget: Some(24),
        reason: "PID 1: whatever can block, grow or be attacked lives elsewhere",
    },
    Crate {
        name: "herm-home",
        may_use: &["herm-sys", "herm-wire"],
        never: &[ASYNC, HTTP, TLS],
        budget: None,
        reason: "the volume's files, synchronously; no supervisor in it",
    },
    Crate {
        name: "herm-dashboard",
        may_use: &["herm-home", "herm-wire"],
        never: &[TLS],
        budget: None,
        reason: "what the network talks to: a client of the control socket and a reader of the home, like any other",
    },
    Crate {
        name: "herm-gateway",
        may_use: &["herm-home", "herm-wire"],
        never: &[],
        budget: None,
        reason: "one of the things that are supervised: it knows nothing of who does it",
    },
    Crate {
        name: "herm",
        may_use: &[
            "herm-dashboard",
            "herm-gateway",
            "herm-home",
            "herm-init",
            "herm-sys",
            "herm-wire",
        ],
        never: &[],
        budget: None,
        reason: "everything a person or the network talks to; it reaches the engine over the control socket only",
    },
];

/// Crates that are never shipped.
const TEST_ONLY: &[&str] = &["herm-bench", "herm-e2e", "herm-testkit", "xtask"];
/// Crates that only tests may use, by any path.
const ONLY_IN_TESTS: &[&str] = &["herm-e2e", "herm-testkit", "insta", "proptest"];

/// Edges that exist and must not.
pub(crate) fn check() -> Result<Findings> {
    let packages = workspace()?;
    let mut findings = Findings::new();
    for (name, direct) in &packages {
        if TEST_ONLY.contains(&name.as_str()) {
            continue;
        }
        match CRATES.iter().find(|entry| entry.name == name) {
            Some(entry) => findings.extend(entry.breaches(direct, &linked(name)?)),
            None => findings.push(format!(
                "{name} is not in the table of xtask/src/tidy/edges.rs"
            )),
        }
    }
    Ok(findings)
}

impl Crate {
    /// What is wrong with a crate that names `direct` in its manifest and has `linked` in it.
    fn breaches(&self, direct: &BTreeSet<String>, linked: &BTreeSet<String>) -> Findings {
        let mut findings = Findings::new();
        let is_ours = |name: &str| CRATES.iter().any(|entry| entry.name == name);
        for name in direct
            .iter()
            .filter(|name| is_ours(name) && !self.may_use.contains(&name.as_str()))
        {
            findings.push(format!(
                "{} names {name}; of this workspace it may name: {}",
                self.name,
                self.may_use.join(", ")
            ));
        }
        // Raw system calls are sys's; rustix is the kernel without unsafe code, for all.
        for name in direct
            .iter()
            .filter(|name| ["libc", "nix"].contains(&name.as_str()) && self.name != "herm-sys")
        {
            findings.push(format!("{} names {name}; only herm-sys does", self.name));
        }
        let never = self.never.iter().copied().flatten().chain(ONLY_IN_TESTS);
        findings.extend(never.filter(|name| linked.contains(**name)).map(|name| {
            format!(
                "{} has {name} in it (`cargo tree -p {} -e normal -i {name}` shows by which way)",
                self.name, self.name
            )
        }));
        let foreign = linked.iter().filter(|name| !is_ours(name)).count();
        if self.budget.is_some_and(|budget| foreign > budget) {
            findings.push(format!(
                "{} has {foreign} crates from elsewhere in it; its budget is {}",
                self.name,
                self.budget.unwrap_or(0)
            ));
        }
        findings
    }
}

/// Each package of the workspace with what its manifest names for other than tests.
fn workspace() -> Result<Vec<(String, BTreeSet<String>)>> {
    let text = capture(&mut cargo(&[
        "metadata",
        "--locked",
        "--format-version=1",
        "--no-deps",
    ]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    Ok(packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let direct = dependencies.filter(|dependency| dependency["kind"] != "dev");
            let names =
                direct.filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
            (
                package["name"].as_str().unwrap_or_default().to_owned(),
                names.collect(),
            )
        })
        .collect())
}

/// What is linked into a package with its default features on this machine, itself left out.
fn linked(package: &str) -> Result<BTreeSet<String>> {
    let tree = capture(&mut cargo(&[
        "tree",
        "--locked",
        "--package",
        package,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let names = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != package && !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

/// The table, for people.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Which crate may be built on what\n\n\
         <!-- Generated by `cargo xtask gen` from the table that `cargo xtask tidy` checks. -->\n\n\
         Only what is shipped counts: tests may use more, build-time code (procedural macros) is not\n\
         linked. \"Crates from elsewhere\" is a budget that only goes down.\n\n\
         | crate | may name | has never in it | crates from elsewhere | because |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for entry in CRATES {
        let never: BTreeSet<&str> = entry.never.iter().copied().flatten().copied().collect();
        let never: Vec<&str> = never.into_iter().collect();
        let budget = entry
            .budget
            .map_or_else(|| "no limit".into(), |budget| format!("at most {budget}"));
        let cells = [
            format!("`{}`", entry.name),
            or_nothing(entry.may_use),
            or_nothing(&never),
            budget,
            entry.reason.into(),
        ];
        page.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    page
}

fn or_nothing(names: &[&str]) -> String {
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn breaches(name: &str, direct: &[&str], linked: &[&str]) -> usize {
        let entry = CRATES.iter().find(|entry| entry.name == name).unwrap();
        entry.breaches(&names(direct), &names(linked)).len()
    }

    #[test]
    fn the_command_line_does_not_know_the_engine() {
        assert_eq!(breaches("herm", &["herm-engine"], &["herm-engine"]), 1);
        assert_eq!(breaches("herm", &["herm-wire"], &["herm-wire"]), 0);
    }

    #[test]
    fn pid_1_has_no_runtime_however_it_comes_in() {
        assert_eq!(
            breaches("herm-init", &["innocent"], &["innocent", "tokio"]),
            1
        );
    }

    #[test]
    fn raw_system_calls_are_syss() {
        assert_eq!(breaches("herm-home", &["libc"], &["libc"]), 1);
        assert_eq!(breaches("herm-sys", &["libc"], &["libc"]), 0);
    }

    #[test]
    fn doubles_are_not_shipped() {
        assert_eq!(breaches("herm", &["herm-testkit"], &["herm-testkit"]), 1);
    }

    #[test]
    fn a_budget_counts_what_comes_from_elsewhere() {
        assert_eq!(
            breaches("herm-engine", &["alloc-traits"], &["alloc-traits"]),
            1
        );
    }

    #[test]
    fn linked_crates_are_found_through_others() {
        let linked = linked("xtask").unwrap();
        assert!(linked.contains("clap_builder"), "{linked:?}");
        assert!(!linked.contains("tempfile"), "{linked:?}");
    }
}
