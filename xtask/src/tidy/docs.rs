//! What documents name exists: links, paths, items of code, and commands.

use std::collections::BTreeSet;

use super::Findings;
use super::source::occurrences;
use super::tree::{Tree, has_extension};
use crate::run::root;

/// Directories whose contents are made, not kept.
const MADE: &[&str] = &["dist/", "target/"];

/// The generated page whose headings are the commands that herm has.
const COMMANDS: &str = "docs/reference/cli.md";

/// Commands that herm has for itself, and its reference does not show.
const INTERNAL: &[&str] = &["herm generate", "herm keeper", "herm probe"];

/// Links, paths, items and commands in `*.md` that lead nowhere.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    let commands = tree
        .texts
        .get(COMMANDS)
        .map(|page| commands(page))
        .unwrap_or_default();
    for (path, text) in tree
        .texts
        .iter()
        .filter(|(path, _)| has_extension(path, "md"))
    {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (number, line) in prose(text) {
            let place = format!("{path}:{number}");
            for target in links(line).filter(|target| !leads_somewhere(target, directory)) {
                findings.push(format!("{place}: the link to `{target}` leads nowhere"));
            }
            for span in spans(line) {
                if is_path(span, tree) && !exists(strip_place(span)) {
                    findings.push(format!("{place}: there is no `{span}`"));
                }
                findings.extend(
                    missing_item(span, tree)
                        .map(|item| format!("{place}: `{span}`: no `{item}` in that crate")),
                );
            }
        }
        for (number, line, in_block) in lines(text).filter(|_| path != COMMANDS) {
            let unknown =
                invocations(line, in_block).filter_map(|words| unknown_command(words, &commands));
            findings.extend(
                unknown.map(|words| format!("{path}:{number}: herm has no command `{words}`")),
            );
        }
    }
    findings
}

/// The commands that the reference has a section for: its headings in backquotes.
fn commands(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix(" `")?
                .strip_suffix('`')
        })
        .collect()
}

/// What follows each `herm` of a line that is a command: in backquotes, or in a block of code at
/// the line's beginning, after a prompt, or given to `docker exec`.
fn invocations(line: &str, in_block: bool) -> impl Iterator<Item = &str> {
    line.match_indices("herm ").filter_map(move |(at, word)| {
        let before = line[..at].trim_start();
        let is_command = if in_block {
            before.is_empty() || before == "$ " || before.starts_with("docker exec ")
        } else {
            before.ends_with('`')
        };
        is_command
            .then(|| {
                line[at + word.len()..]
                    .split(['`', '#', '|', ';', '&'])
                    .next()
            })
            .flatten()
    })
}

/// The shortest beginning of these words that is no command, if herm has none of that name.
/// Options and their values, and what is no lower-case word (a placeholder), end the command.
fn unknown_command(words: &str, commands: &BTreeSet<&str>) -> Option<String> {
    let mut command = String::from("herm");
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let mut rest = words.split_whitespace().peekable();
    if rest.next_if_eq(&"-p").is_some() {
        rest.next();
    }
    while let Some(word) = rest.next_if(is_name) {
        let has_children = commands.iter().any(|known| {
            known
                .strip_prefix(&command)
                .is_some_and(|rest| rest.starts_with(' '))
        });
        if !has_children {
            return None;
        }
        command = format!("{command} {word}");
        if INTERNAL.contains(&command.as_str()) {
            return None;
        }
        if !commands.contains(command.as_str()) {
            return Some(command);
        }
    }
    None
}

/// The numbered lines of a document, and whether each is in a block of code.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut in_block = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        (!fence).then_some((index + 1, line, in_block))
    })
}

/// The numbered lines outside blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    lines(text)
        .filter(|(_, _, in_block)| !in_block)
        .map(|(number, line, _)| (number, line))
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](")
        .filter_map(|(at, _)| line[at + 2..].split([')', ' ']).next())
}

/// What stands between single backquotes.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| !span.is_empty())
}

fn leads_somewhere(target: &str, directory: &str) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    target.contains("://")
        || target.starts_with("mailto:")
        || file.is_empty()
        || root().join(directory).join(file).exists()
}

/// True for a span that begins with a directory of the repository's root.
fn is_path(span: &str, tree: &Tree) -> bool {
    let Some((first, _)) = span.split_once('/') else {
        return false;
    };
    let plain = !span.contains(|c: char| c.is_whitespace() || "<>{}*$…".contains(c));
    let is_made = MADE.iter().any(|made| span.starts_with(made));
    plain
        && !is_made
        && !first.is_empty()
        && tree
            .texts
            .keys()
            .any(|path| path.split('/').next() == Some(first) && path.contains('/'))
}

/// `crates/a/src/b.rs:10` names the file.
fn strip_place(span: &str) -> &str {
    span.split_once(':').map_or(span, |(path, _)| path)
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// For `engine::Service::start` or `herm_engine::…`: the first part that no source of the crate has.
fn missing_item<'a>(span: &'a str, tree: &Tree) -> Option<&'a str> {
    let (first, rest) = span.split_once("::")?;
    let name = first.strip_prefix("herm_").unwrap_or(first);
    let prefix = format!("crates/{name}/src/");
    let sources: Vec<&str> = tree
        .sources
        .iter()
        .filter(|(path, _)| path.starts_with(&prefix))
        .map(|(_, source)| source.masked.as_str())
        .collect();
    if sources.is_empty() {
        return None;
    }
    let identifiers = rest.split("::").map(|part| {
        part.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
    });
    identifiers.filter(|item| !item.is_empty()).find(|item| {
        !sources
            .iter()
            .any(|source| occurrences(source, item).next().is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Findings {
        let source = "//! A.\nmod restart;\npub enum Next { Start }\n";
        check(&Tree::of(
            [
                ("docs/page.md".to_owned(), text.to_owned()),
                ("crates/engine/src/lib.rs".to_owned(), source.to_owned()),
            ]
            .into(),
        ))
    }

    #[test]
    fn a_path_that_is_not_there_is_found() {
        assert_eq!(
            found("`crates/engine/Cargo.toml` `crates/engine/src/lib.rs:3` `docs/none.md`").len(),
            1
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(
            found("[a](../Cargo.toml) [b](#c) [d](https://e.example) [f](none.md#g)").len(),
            1
        );
    }

    #[test]
    fn an_item_that_its_crate_does_not_have_is_found() {
        assert_eq!(
            found("`engine::Next::Start` `herm_engine::restart` `std::fmt`"),
            Findings::new()
        );
        assert_eq!(found("`engine::Next::Stop`").len(), 1);
    }

    #[test]
    fn code_blocks_patterns_and_other_paths_are_left_alone() {
        assert_eq!(
            found(
                "```\n`docs/none.md`\n```\n`docs/*.md` `/opt/data` `profiles/x` `dist/herm.tar.gz`"
            ),
            Findings::new()
        );
    }

    #[test]
    fn a_command_that_herm_does_not_have_is_found() {
        let commands = commands(
            "# The command line\n## `herm`\n### `herm profile`\n#### `herm profile list`\n### `herm why`\n",
        );
        for (line, in_block, unknown) in [
            ("`herm profile list`", false, None),
            ("$ herm profile lst", true, Some("herm profile lst")),
            ("herm start x", true, Some("herm start")),
            (
                "docker exec -u hermes home herm -p writer why writer",
                true,
                None,
            ),
            ("`herm -p writer wy`", false, Some("herm wy")),
            ("`herm why NAME` and herm itself", false, None),
            ("herm is a supervisor", false, None),
        ] {
            let found =
                invocations(line, in_block).find_map(|words| unknown_command(words, &commands));
            assert_eq!(found.as_deref(), unknown, "{line}");
        }
    }
}
