//! Definition directories, read from disk.

use std::io;
use std::path::Path;

use herm_s6::rc::source::{Definition, Node};

use super::Places;

/// Files whose content says something; of others only their being there counts.
const READ: &[&str] = &[
    "type",
    "contents",
    "dependencies",
    "up",
    "down",
    "producer-for",
    "consumer-for",
    "pipeline-name",
    "timeout-up",
    "timeout-down",
    "notification-fd",
    "lock-fd",
    "timeout-kill",
    "timeout-finish",
    "max-death-tally",
];
const BUNDLES: &[&str] = &["user", "user2"];

/// The names in a directory in the order of their bytes, hidden ones left out; none where there is
/// no directory.
pub(super) fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// All definitions of the image; a link that leads nowhere is an empty one. Where the old place of the bundles exists it counts for both, and
/// may lack what makes it a bundle.
pub(super) fn read(places: &Places) -> io::Result<Vec<Definition>> {
    let sources = places.etc.join("s6-overlay/s6-rc.d");
    let mut definitions = Vec::new();
    for name in names_in(&sources)? {
        let dir = sources.join(&name);
        if dir.is_dir() || !dir.exists() {
            let mut definition = definition(&dir, &name)?;
            if BUNDLES.contains(&name.as_str()) {
                complete(&mut definition);
            }
            definitions.push(definition);
        }
    }
    if !sources.join("user").is_dir() {
        for name in BUNDLES {
            let dir = places.bundles.join(name);
            if dir.is_dir() {
                definitions.push(definition(&dir, name)?);
            }
        }
    }
    Ok(definitions)
}

fn complete(bundle: &mut Definition) {
    if !bundle.has("type") {
        bundle
            .entries
            .push(("type".to_owned(), Node::File(b"bundle\n".to_vec())));
    }
    if !bundle.has("contents.d") && !bundle.has("contents") {
        let empty = Node::Directory(Vec::new());
        bundle.entries.push(("contents.d".to_owned(), empty));
    }
}

fn definition(dir: &Path, name: &str) -> io::Result<Definition> {
    let mut entries = Vec::new();
    for file in names_in(dir)? {
        let path = dir.join(&file);
        let node = if path.is_dir() {
            Node::Directory(names_in(&path)?)
        } else if !path.is_file() {
            // A link that leads nowhere is as good as nothing.
            if !path.exists() {
                continue;
            }
            Node::Other
        } else if READ.contains(&file.as_str()) {
            Node::File(std::fs::read(&path)?)
        } else {
            Node::File(Vec::new())
        };
        entries.push((file, node));
    }
    Ok(Definition {
        name: name.to_owned(),
        path: dir.display().to_string(),
        entries,
    })
}
