//! `skills/.bundled_manifest`: which skills were offered, and as what.

use std::collections::BTreeMap;

use crate::error::HomeError;
use crate::files::Dir;

const MANIFEST: &str = ".bundled_manifest";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// The manifest, and whether it differs from the file.
#[derive(Debug)]
pub(super) struct Manifest {
    /// The hash at the last sync by name; empty where the first version of the format had none.
    origins: BTreeMap<String, String>,
    changed: bool,
}

impl Manifest {
    /// Reads it; one that is missing is empty.
    pub(super) fn read(skills: &Dir) -> Result<Self, HomeError> {
        let content = skills.read_input(MANIFEST, MANIFEST_BYTES_MAX)?;
        let bytes = content.map(|content| content.bytes).unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let entries = lines.map(|line| {
            let (name, hash) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_owned(), hash.trim().to_owned())
        });
        Self {
            origins: entries.collect(),
            changed: false,
        }
    }

    /// The hash a skill was offered with; `None`: it never was.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.origins.get(name).map(String::as_str)
    }

    /// Notes what a skill is offered as.
    pub(super) fn set(&mut self, name: &str, hash: &str) {
        let before = self.origins.insert(name.to_owned(), hash.to_owned());
        self.changed |= before.as_deref() != Some(hash);
    }

    /// Forgets skills; answers which.
    pub(super) fn drop_unless(&mut self, is_bundled: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = |name: &&String| !is_bundled(name);
        let names: Vec<String> = self.origins.keys().filter(gone).cloned().collect();
        for name in &names {
            self.origins.remove(name);
        }
        self.changed |= !names.is_empty();
        names
    }

    /// Writes it back, if it differs.
    pub(super) fn write(&self, skills: &Dir) -> Result<(), HomeError> {
        if !self.changed {
            return Ok(());
        }
        let mut text = String::new();
        for (name, hash) in &self.origins {
            text.push_str(name);
            text.push(':');
            text.push_str(hash);
            text.push('\n');
        }
        skills.write_atomic(MANIFEST, text.as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_format_are_read_and_only_a_change_is_written() {
        let mut manifest = Manifest::parse("b:22\n\n a : 11 \nold\n");
        assert_eq!(manifest.get("a"), Some("11"));
        assert_eq!(manifest.get("old"), Some(""));
        assert_eq!(manifest.get("c"), None);
        manifest.set("b", "22");
        assert!(!manifest.changed);
        assert_eq!(manifest.drop_unless(|name| name != "old"), ["old"]);
        let dir = tempfile::tempdir().unwrap();
        let skills = Dir::open(dir.path()).unwrap();
        manifest.write(&skills).unwrap();
        let text = std::fs::read_to_string(dir.path().join(MANIFEST)).unwrap();
        assert_eq!(text, "a:11\nb:22\n");
    }
}
