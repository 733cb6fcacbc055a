//! `cargo xtask gen`: files that are made from code, kept in the tree so that people can read them
//! there, and compared with what the code makes now so that they never lie.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::dist::target_directory;
use crate::run::{capture, cargo, root};
use crate::tidy;

/// Where generated files are in the repository.
const DIRECTORY: &str = "docs/reference";

/// Names and contents of some files.
type Files = Vec<(String, String)>;

/// Everything that is generated. A new kind of generated file is a new function here.
const SOURCES: &[fn() -> Result<Files>] = &[edges, command_line];

/// The table of dependency edges that tidy checks.
#[expect(clippy::unnecessary_wraps, reason = "other sources can fail")]
fn edges() -> Result<Files> {
    Ok(vec![("dependency-edges.md".into(), tidy::edges_page())])
}

/// What herm says of itself: its commands, and the schema of the control protocol.
fn command_line() -> Result<Files> {
    let directory = target_directory().join("generated");
    if directory.exists() {
        fs::remove_dir_all(&directory).context("could not empty target/generated")?;
    }
    let mut generate = cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "herm",
        "--features",
        "generate",
        "--",
        "generate",
    ]);
    capture(generate.arg(&directory))?;
    let entries = fs::read_dir(&directory).context("`herm generate` made no directory")?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((
                entry.file_name().to_string_lossy().into_owned(),
                fs::read_to_string(entry.path())?,
            ))
        })
        .collect()
}

/// Writes every generated file, and removes those that are generated no longer.
pub(crate) fn write() -> Result<()> {
    let directory = root().join(DIRECTORY);
    fs::create_dir_all(&directory).with_context(|| format!("could not create {DIRECTORY}"))?;
    let files = files()?;
    for name in strangers(&directory, &files)? {
        fs::remove_file(directory.join(&name))
            .with_context(|| format!("could not remove {DIRECTORY}/{name}"))?;
        println!("removed {DIRECTORY}/{name}");
    }
    for (name, content) in files
        .iter()
        .filter(|(name, content)| differs(&directory.join(name), content))
    {
        fs::write(directory.join(name), content)
            .with_context(|| format!("could not write {DIRECTORY}/{name}"))?;
        println!("wrote {DIRECTORY}/{name}");
    }
    Ok(())
}

/// Fails if a generated file is not what would be written now.
pub(crate) fn check() -> Result<()> {
    let directory = root().join(DIRECTORY);
    let files = files()?;
    let mut stale = strangers(&directory, &files)?;
    stale.extend(
        files
            .iter()
            .filter(|(name, content)| differs(&directory.join(name), content))
            .map(|(name, _)| name.clone()),
    );
    if !stale.is_empty() {
        bail!(
            "out of date in {DIRECTORY}: {} (run `cargo xtask gen`)",
            stale.join(", ")
        );
    }
    println!("{} generated files are up to date", files.len());
    Ok(())
}

fn files() -> Result<Files> {
    let mut all = Files::new();
    for source in SOURCES {
        all.extend(source()?);
    }
    Ok(all)
}

/// The names of files in a directory that are none of these.
fn strangers(directory: &Path, files: &Files) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("could not read {}", directory.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    Ok(names
        .into_iter()
        .filter(|name| !files.iter().any(|(file, _)| file == name))
        .collect())
}

fn differs(file: &Path, content: &str) -> bool {
    fs::read_to_string(file).ok().as_deref() != Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_up_to_date() {
        check().unwrap();
    }

    #[test]
    fn a_file_that_is_generated_no_longer_is_found() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["kept.md", "gone.md"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let files = vec![("kept.md".to_owned(), String::new())];
        assert_eq!(strangers(directory.path(), &files).unwrap(), ["gone.md"]);
    }
}
