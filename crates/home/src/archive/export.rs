//! A profile out of the home.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::FileType;
use tar::{Builder, EntryType, Header};

use crate::discover::discover;
use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{AUTH, DOTENV, Home};
use crate::name::ProfileName;
use crate::runtime::is_runtime;
use crate::tree::{self, Entry};

/// All that is taken of the root profile, whose directory is the home and may hold anything.
const OF_THE_ROOT: [&str; 22] = [
    ".cursorrules",
    ".no-bundled-skills",
    "AGENTS.md",
    "CLAUDE.md",
    "MEMORY.md",
    "SOUL.md",
    "USER.md",
    "config.yaml",
    "cron",
    "hooks",
    "knowledge",
    "memories",
    "plans",
    "plugins",
    "preferences",
    "profile.yaml",
    "scripts",
    "sessions",
    "skills",
    "skins",
    "system_prompt.md",
    "todo.json",
];

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files in the archive.
    pub files: u64,
    /// Their bytes before compression.
    pub bytes: u64,
    /// Paths that were left out because they are links.
    pub links: Vec<String>,
}

/// Writes a profile's archive. The gateway should be down, or a file it writes may be caught
/// half-way. `out` is the caller's: a file that is renamed when this has succeeded, or a pipe.
pub fn export(home: &Home, name: &ProfileName, out: impl Write) -> Result<Exported, HomeError> {
    let found = discover(home)?;
    let dir = Dir::open(home.profile(found.find(name)?).dir())?;
    let mut archive = Builder::new(GzEncoder::new(out, Compression::default()));
    let failed = |e: io::Error| HomeError::io("write", "the archive", e);

    let mut exported = Exported::default();
    let root = name.as_str();
    append(
        &mut archive,
        &header(EntryType::Directory, 0o700, 0, 0),
        root,
        io::empty(),
    )
    .map_err(failed)?;
    let wanted = |path: &str, _: FileType| is_exported(path, name.is_default());
    tree::walk(&dir, &wanted, &mut |entry| match entry {
        Entry::Directory { path, mode } => {
            let header = header(EntryType::Directory, mode, 0, 0);
            append(
                &mut archive,
                &header,
                &format!("{root}/{path}"),
                io::empty(),
            )
            .map_err(failed)
        }
        Entry::File {
            path,
            file,
            mode,
            size,
            mtime,
        } => {
            exported.files += 1;
            exported.bytes += size;
            let header = header(EntryType::Regular, mode, size, mtime);
            // Exactly as many bytes as the header says, also if the file changes meanwhile.
            let content = file.take(size).chain(io::repeat(0)).take(size);
            append(&mut archive, &header, &format!("{root}/{path}"), content).map_err(failed)
        }
        Entry::Symlink { path, .. } => {
            exported.links.push(path.to_owned());
            Ok(())
        }
    })?;
    let compressed = archive.into_inner().and_then(GzEncoder::finish);
    compressed.and_then(|mut out| out.flush()).map_err(failed)?;
    Ok(exported)
}

fn is_exported(path: &str, of_root: bool) -> bool {
    let top = path.split('/').next().unwrap_or(path);
    let secret = [DOTENV, AUTH].contains(&path)
        || (path.starts_with(".env.") && !path.ends_with(".example"));
    !secret && !is_runtime(path) && (!of_root || OF_THE_ROOT.contains(&top))
}

fn header(kind: EntryType, mode: u32, size: u64, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o777);
    header.set_size(size);
    header.set_mtime(mtime);
    header
}

fn append(
    archive: &mut Builder<GzEncoder<impl Write>>,
    header: &Header,
    path: &str,
    content: impl Read,
) -> io::Result<()> {
    archive.append_data(&mut header.clone(), path, content)
}
