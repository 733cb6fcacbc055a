//! Files whose paths match a pattern.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use herm_s6::glob::matches;

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Directories get a slash at their end.
    pub(crate) mark_directories: bool,
    /// Backslashes have no meaning.
    pub(crate) backslash_is_plain: bool,
}

/// Every path that matches, in the order of their bytes.
pub(crate) fn expand(pattern: &[u8], options: Options) -> Vec<Vec<u8>> {
    let mut found = vec![Vec::new()];
    let mut rest = pattern;
    while !rest.is_empty() {
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        let (slashes, after) = rest.split_at_checked(slashes).unwrap_or_default();
        let end = after.iter().position(|byte| *byte == b'/');
        let (component, after) = after
            .split_at_checked(end.unwrap_or(after.len()))
            .unwrap_or_default();
        rest = after;
        found = found
            .iter()
            .flat_map(|base| step(&[base, slashes].concat(), component, options))
            .collect();
    }
    found.sort();
    if options.mark_directories {
        for path in &mut found {
            if !path.ends_with(b"/") && path_of(path).is_dir() {
                path.push(b'/');
            }
        }
    }
    found
}

/// What a component of the pattern matches in a directory, whose path is in front of it.
fn step(base: &[u8], component: &[u8], options: Options) -> Vec<Vec<u8>> {
    if component.is_empty() {
        // A slash at the end: directories only.
        return if path_of(base).is_dir() {
            vec![base.to_vec()]
        } else {
            Vec::new()
        };
    }
    let is_pattern = component
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    if !is_pattern {
        let path = [base, component].concat();
        let exists = path_of(&path).symlink_metadata().is_ok();
        return if exists { vec![path] } else { Vec::new() };
    }
    let dir = if base.is_empty() {
        Path::new(".")
    } else {
        path_of(base)
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_vec());
    [b".".to_vec(), b"..".to_vec()]
        .into_iter()
        .chain(names)
        .filter(|name| matches(component, name, options.backslash_is_plain))
        .map(|name| [base, &name].concat())
        .collect()
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
