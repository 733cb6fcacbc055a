//! The files of the repository: those git knows, and new ones it does not ignore.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;

use super::source::Source;
use crate::run::{capture, command, root};

/// Every text file by its path in the repository.
pub(crate) struct Tree {
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) sources: BTreeMap<String, Source>,
}

impl Tree {
    /// Reads the working tree.
    pub(crate) fn read() -> Result<Self> {
        let listed = capture(&mut command(
            "git",
            // A checkout that another user owns (a mounted one, say) is read all the same.
            &[
                "-c",
                "safe.directory=*",
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ],
        ))?;
        let paths = listed.split('\0').filter(|path| !path.is_empty());
        // A file that is deleted but not yet committed so, or that is no text, is not read.
        let texts = paths.filter_map(|path| {
            Some((path.to_owned(), fs::read_to_string(root().join(path)).ok()?))
        });
        Ok(Self::of(texts.collect()))
    }

    /// A tree of these files.
    pub(crate) fn of(texts: BTreeMap<String, String>) -> Self {
        let rust = texts.iter().filter(|(path, _)| has_extension(path, "rs"));
        let mut sources: BTreeMap<String, Source> = rust
            .map(|(path, text)| (path.clone(), Source::parse(text, is_test_path(path))))
            .collect();
        for path in test_modules(&sources) {
            if let Some(source) = sources.get_mut(&path) {
                *source = Source::parse(&texts[&path], true);
            }
        }
        Self { texts, sources }
    }
}

/// True if the name of a file ends in this extension.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

/// Tests, benchmarks, examples, and what only they use.
fn is_test_path(path: &str) -> bool {
    ["crates/testkit/", "tests/", "fuzz/", "bench/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || ["/tests/", "/benches/", "/examples/"]
            .iter()
            .any(|part| path.contains(part))
        || path.ends_with("/tests.rs")
}

/// Files that their parents include for tests only (`#[cfg(test)] mod name;`).
fn test_modules(sources: &BTreeMap<String, Source>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, source) in sources {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        let base = match file {
            "lib.rs" | "main.rs" | "mod.rs" => directory.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for name in &source.test_modules {
            found.push(format!("{base}/{name}.rs"));
            found.push(format!("{base}/{name}/mod.rs"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_included_for_tests_only_is_test_code() {
        let files = [
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod world;\nmod real;"),
            ("crates/a/src/world.rs", "fn a() {}"),
            ("crates/a/src/real.rs", "fn b() {}"),
        ];
        let tree = Tree::of(
            files
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
        );
        assert!(tree.sources["crates/a/src/world.rs"].code.trim().is_empty());
        assert!(tree.sources["crates/a/src/real.rs"].code.contains("fn b"));
    }

    #[test]
    fn this_file_is_in_the_tree() {
        assert!(
            Tree::read()
                .unwrap()
                .sources
                .contains_key("xtask/src/tidy/tree.rs")
        );
    }
}
