//! What has to be in an image.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::Bench;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::verdict::Verdict;

/// Packages of the peers, libraries of their own included.
const PACKAGES: [(&str, &[&str]); 3] = [
    (
        "s6 and execline, with their libraries",
        &[
            "s6",
            "libs6-2.11",
            "execline",
            "libexecline2.9",
            "libskarnet2.13",
        ],
    ),
    ("runit", &["runit"]),
    ("supervisor, without Python", &["supervisor"]),
];

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let one = |bytes: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a file's size")]
        let bytes = bytes as f64;
        [bytes].into_iter().collect::<Samples>()
    };
    let own = bytes_of(&bench.init)?;
    let mut lines = vec![
        ("herm-init".to_owned(), one(own)),
        (
            "tini-static".to_owned(),
            one(bytes_of(Path::new("/usr/bin/tini-static"))?),
        ),
        (
            "dumb-init".to_owned(),
            one(bytes_of(Path::new("/usr/bin/dumb-init"))?),
        ),
    ];
    for (name, packages) in PACKAGES {
        lines.push((name.to_owned(), one(installed(packages)?)));
    }
    let table = Table::new(
        "size",
        "bytes of programs and libraries",
        Unit::Bytes,
        lines,
    );
    let got = table.median("herm-init");
    Ok(vec![table.asked(Verdict::at_most(
        "size of herm-init",
        2e6,
        got,
        Unit::Bytes,
    ))])
}

fn bytes_of(path: &Path) -> Result<u64> {
    let data = std::fs::metadata(path).with_context(|| format!("no {}", path.display()))?;
    Ok(data.len())
}

/// What the packages have outside their documentation. Those of other releases have other names, and
/// are left out.
fn installed(packages: &[&str]) -> Result<u64> {
    let listed = Command::new("dpkg-query")
        .arg("--listfiles")
        .args(packages)
        .output()?;
    let files = String::from_utf8_lossy(&listed.stdout).into_owned();
    let programs = files
        .lines()
        .filter(|path| path.contains("/bin/") || path.contains("/sbin/") || path.contains("/lib"));
    let sizes = programs.filter_map(|path| {
        let data = std::fs::symlink_metadata(path).ok()?;
        data.is_file().then_some(data.len())
    });
    Ok(sizes.sum())
}
