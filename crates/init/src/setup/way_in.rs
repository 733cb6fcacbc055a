//! herm's own `main-wrapper.sh`: for compose files that name it as their command.
//!
//! An image's own wrapper runs as it stands, because it does what this module's caller would do.
//! herm's does nothing: it stands for the words after it, and a line in it says so.

use std::fs::File;
use std::io::Read as _;

use rustix::fs::{Mode, OFlags};

use crate::main_program::WRAPPER_SUFFIX;

/// The line by which herm's own is known (`docker/main-wrapper.sh`).
const MARK: &str = "\n# herm: stands for the words after it\n";
/// The mark is this near the file's beginning, in bytes.
const HEAD_BYTES: u64 = 1024;

/// CMD without herm's own wrapper at its beginning.
pub(super) fn without_wrapper(cmd: &[String]) -> &[String] {
    match cmd.split_first() {
        Some((first, rest)) if first.ends_with(WRAPPER_SUFFIX) && is_marked(first) => rest,
        _ => cmd,
    }
}

fn is_marked(path: &str) -> bool {
    let mut head = Vec::new();
    // It may lie where others write: nothing is waited for, should it be no regular file.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        return false;
    };
    let read = File::from(file).take(HEAD_BYTES).read_to_end(&mut head);
    read.is_ok() && String::from_utf8_lossy(&head).contains(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_herms_own_wrapper_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main-wrapper.sh");
        let cmd = vec![path.display().to_string(), "chat".to_owned()];
        std::fs::write(&path, "#!/bin/sh\nexec gosu hermes \"$@\"\n").unwrap();
        assert_eq!(without_wrapper(&cmd), cmd);
        std::fs::write(&path, include_str!("../../../../docker/main-wrapper.sh")).unwrap();
        assert_eq!(without_wrapper(&cmd), &cmd[1..]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(without_wrapper(&cmd), cmd);
        assert!(without_wrapper(&[]).is_empty());
    }
}
