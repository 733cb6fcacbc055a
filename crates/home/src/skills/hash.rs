//! What identifies a skill's content, as the agent computes it.

use std::fs::{self, File};
use std::io::{self, Read as _};

use md5::{Digest as _, Md5};

use crate::error::HomeError;
use crate::files::Dir;
use crate::tree::{Entry, walk};

/// The MD5 of the paths and contents of all files of a directory, in the order of their paths by
/// components, as hexadecimal digits. It finds changes; it isn't meant to resist forgery.
pub(super) fn hash(dir: &Dir) -> Result<String, HomeError> {
    let mut hasher = Md5::new();
    walk(dir, &|_, _| true, &mut |entry| {
        match entry {
            Entry::File { path, file, .. } => add(&mut hasher, path, file)
                .map_err(|error| HomeError::io("read", dir.path_of(path), error))?,
            // The agent sees what a link to a file leads to.
            Entry::Symlink { path, .. } => {
                let target = dir.path_of(path);
                if fs::metadata(&target).is_ok_and(|found| found.is_file()) {
                    File::open(&target)
                        .and_then(|file| add(&mut hasher, path, file))
                        .map_err(|error| HomeError::io("read", &target, error))?;
                }
            }
            Entry::Directory { .. } => {}
        }
        Ok::<(), HomeError>(())
    })?;
    let digest = hasher.finalize();
    let halves = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    Ok(halves
        .filter_map(|half| char::from_digit(u32::from(half), 16))
        .collect())
}

fn add(hasher: &mut Md5, path: &str, mut file: File) -> io::Result<()> {
    hasher.update(path.as_bytes());
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        hasher.update(chunk.get(..count).unwrap_or_default());
    }
}
