//! Which skills come with the agent.

use rustix::fs::FileType;

use crate::error::HomeError;
use crate::files::Dir;

/// What makes a directory a skill.
pub(super) const MARKER: &str = "SKILL.md";
/// What describes a category of skills.
const DESCRIPTION: &str = "DESCRIPTION.md";
/// No skills are looked for in these.
const EXCLUDED: [&str; 14] = [
    ".git",
    ".github",
    ".hub",
    ".archive",
    ".venv",
    "venv",
    "node_modules",
    "site-packages",
    "__pycache__",
    ".tox",
    ".nox",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
];
/// In a skill, these hold what belongs to it and no skills.
const SUPPORT: [&str; 4] = ["references", "templates", "assets", "scripts"];
/// How far a skill's name is looked for, in characters.
const HEAD_CHARS: usize = 4000;
const MARKER_BYTES_MAX: u64 = 4 << 20;
/// Deepest nesting of categories.
const DEPTH_MAX: usize = 16;

/// A skill of the bundle.
pub(super) struct Skill {
    /// As the manifest has it.
    pub(super) name: String,
    /// Where it is, relative to the bundle.
    pub(super) path: String,
    pub(super) dir: Dir,
}

/// A category's description.
pub(super) struct Description {
    /// Where it is, relative to the bundle.
    pub(super) path: String,
    pub(super) name: String,
    pub(super) dir: Dir,
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) skills: Vec<Skill>,
    pub(super) descriptions: Vec<Description>,
}

/// Finds all skills and descriptions.
pub(super) fn discover(bundle: &Dir) -> Result<Found, HomeError> {
    let mut found = Found::default();
    look_into(bundle, "", DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn look_into(dir: &Dir, path: &str, depth_left: usize, found: &mut Found) -> Result<(), HomeError> {
    let marker = dir.read_input(MARKER, MARKER_BYTES_MAX)?;
    for name in dir.names()? {
        let inner_path = match path {
            "" => name.clone(),
            path => format!("{path}/{name}"),
        };
        let is_directory = dir.kind(&name) == Some(FileType::Directory);
        let is_support = marker.is_some() && SUPPORT.contains(&name.as_str());
        if name == DESCRIPTION && !is_directory {
            found.descriptions.push(Description {
                path: inner_path,
                name,
                dir: again(dir)?,
            });
        } else if is_directory
            && depth_left > 0
            && !is_support
            && !EXCLUDED.contains(&name.as_str())
            && let Some(inner) = dir.child(&name)?
        {
            look_into(&inner, &inner_path, depth_left - 1, found)?;
        }
    }
    // A bundle that is a skill itself would be the whole of the home's skills.
    if let Some(marker) = marker.filter(|_| !path.is_empty()) {
        let text = String::from_utf8_lossy(&marker.bytes);
        let own_name = path.rsplit('/').next().unwrap_or(path);
        found.skills.push(Skill {
            name: named(&text).unwrap_or(own_name).to_owned(),
            path: path.to_owned(),
            dir: again(dir)?,
        });
    }
    Ok(())
}

fn again(dir: &Dir) -> Result<Dir, HomeError> {
    Dir::open(&dir.path_of(""))
}

/// The name in the front matter of a skill's description.
fn named(text: &str) -> Option<&str> {
    let end = text.char_indices().nth(HEAD_CHARS).map(|(at, _)| at);
    let head = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
    let mut inside = false;
    for line in head.split('\n').map(str::trim) {
        if line == "---" {
            if inside {
                return None;
            }
            inside = true;
        } else if inside && let Some(value) = line.strip_prefix("name:") {
            let value = value.trim().trim_matches(['"', '\'']);
            if !value.is_empty() {
                return Some(value);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_matter_names_a_skill() {
        assert_eq!(named("---\nname: \"x y\"\n---\n"), Some("x y"));
        assert_eq!(named("\n---\nother: 1\n  name:  a\n"), Some("a"));
        assert_eq!(named("name: a\n"), None);
        assert_eq!(named("---\n---\nname: a\n"), None);
        assert_eq!(named("---\nname:\nname: b\n"), Some("b"));
        let far = format!("---\n{}\nname: b\n", "x".repeat(HEAD_CHARS));
        assert_eq!(named(&far), None);
    }
}
