//! Walking a profile's files: by descriptors, never through a symlink, to a limited depth.

use std::fs::File;
use std::io;

use rustix::fs::FileType;

use crate::error::HomeError;
use crate::files::Dir;

/// Deepest nesting of directories that is copied, exported or imported.
pub(crate) const MAX_DEPTH: usize = 64;

/// One entry that a walk comes to. `path` is relative to the walk's root, with `/` between.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// A directory; what is in it follows.
    Directory { path: &'a str, mode: u32 },
    /// A regular file, open for reading.
    File {
        path: &'a str,
        file: File,
        mode: u32,
        size: u64,
        mtime: u64,
    },
    /// A symlink, and where it points.
    Symlink { path: &'a str, target: String },
}

/// Walks a tree in the order of names. `wanted(path, kind)` chooses; sockets, pipes and devices are
/// passed over.
pub(crate) fn walk<E: From<HomeError>>(
    root: &Dir,
    wanted: &dyn Fn(&str, FileType) -> bool,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    walk_level(root, "", MAX_DEPTH, wanted, visit)
}

fn walk_level<E: From<HomeError>>(
    dir: &Dir,
    prefix: &str,
    depth_left: usize,
    wanted: &dyn Fn(&str, FileType) -> bool,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for name in dir.names()? {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let Some(kind) = dir.kind(&name).filter(|kind| wanted(&path, *kind)) else {
            continue;
        };
        match kind {
            FileType::Directory => {
                let Some(child) = dir.child(&name)? else {
                    continue;
                };
                if depth_left == 0 {
                    let why = format!(
                        "{} is nested too deep: move it away",
                        dir.path_of(&name).display()
                    );
                    return Err(HomeError::Usage(why).into());
                }
                visit(Entry::Directory {
                    path: &path,
                    mode: child.mode()?,
                })?;
                walk_level(&child, &path, depth_left - 1, wanted, visit)?;
            }
            FileType::RegularFile => {
                let Some(found) = dir.open_file(&name)? else {
                    continue;
                };
                let (mode, size, mtime) = (found.mode, found.size, found.mtime);
                visit(Entry::File {
                    path: &path,
                    file: found.file,
                    mode,
                    size,
                    mtime,
                })?;
            }
            FileType::Symlink => {
                let Some(target) = dir.link_target(&name) else {
                    continue;
                };
                visit(Entry::Symlink {
                    path: &path,
                    target,
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Copies a tree into an existing directory. Symlinks stay symlinks.
pub(crate) fn copy(
    from: &Dir,
    to: &Dir,
    wanted: &dyn Fn(&str, FileType) -> bool,
) -> Result<(), HomeError> {
    walk(from, wanted, &mut |entry| match entry {
        Entry::Directory { path, mode } => to.descend(path)?.set_mode(mode | 0o700),
        Entry::File {
            path,
            mut file,
            mode,
            ..
        } => {
            let (parent, name) = to.descend_to_parent(path)?;
            parent.create_file(name, mode | 0o600, |copy| {
                io::copy(&mut file, copy).map(drop)
            })
        }
        Entry::Symlink { path, target } => {
            let (parent, name) = to.descend_to_parent(path)?;
            parent.symlink(name, &target)
        }
    })
}
