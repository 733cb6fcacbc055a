//! Archives that are the same bytes whenever their contents are: entries sorted by path, root's,
//! dated 1970, without directory entries (an archive unpacked at `/` of somebody's image must not
//! change the mode of `/usr`, nor replace a `/bin` that is a symlink there).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

/// What one path of an archive holds.
pub(crate) enum Entry {
    /// A regular file with these permission bits.
    File { content: Vec<u8>, mode: u32 },
    /// A symlink to this target.
    Link(String),
}

/// Entries by path relative to the root they will be unpacked at.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// Writes `entries` as a gzipped tar.
pub(crate) fn write(path: &Path, entries: &Entries) -> Result<()> {
    let file =
        fs::File::create(path).with_context(|| format!("could not create {}", path.display()))?;
    let packed = pack(io::BufWriter::new(file), entries).and_then(|mut buffer| buffer.flush());
    packed.with_context(|| format!("could not write {}", path.display()))
}

fn pack<W: Write>(out: W, entries: &Entries) -> io::Result<W> {
    let gzip = GzBuilder::new().mtime(0).write(out, Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        match entry {
            Entry::File { content, mode } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content.as_slice())?;
            }
            Entry::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    tar.into_inner()?.finish()
}

/// The SHA-256 of a file's content, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let content = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(format!("{:x}", Sha256::digest(&content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Entries {
        Entries::from([
            (
                "usr/bin/tool".into(),
                Entry::File {
                    content: b"tool".to_vec(),
                    mode: 0o755,
                },
            ),
            (
                "init".into(),
                Entry::File {
                    content: b"init".to_vec(),
                    mode: 0o755,
                },
            ),
            ("usr/bin/init".into(), Entry::Link("../../init".into())),
        ])
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert_eq!(
            pack(Vec::new(), &sample()).unwrap(),
            pack(Vec::new(), &sample()).unwrap()
        );
    }

    #[test]
    fn an_archive_names_files_in_order_and_no_directories() {
        let packed = pack(Vec::new(), &sample()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths, ["init", "usr/bin/init", "usr/bin/tool"]);
    }
}
