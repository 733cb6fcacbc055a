//! `redirfd`, `fdmove` and their kin: what the program that follows reads and writes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;

use herm_sys::{Errno, descriptors};
use rustix::fs::{Mode, OFlags, open};

use super::loops::pipe;
use crate::applets::call::{Call, Outcome, Row, describe};

pub(in crate::applets) const ROWS: &[Row] = &[
    (
        "redirfd -[ r | w | u | a | x ] [ -n ] [ -b ] fd file prog...",
        redirfd,
    ),
    ("fdmove [ -c ] to from prog...", fdmove),
    ("fdclose fd prog...", fdclose),
    ("fdblock [ -n ] fd prog...", fdblock),
    ("fdswap fd1 fd2 prog...", fdswap),
    ("fdreserve n prog...", fdreserve),
    ("piperw fdr fdw prog...", piperw),
    ("heredoc [ -d ] fd string prog...", heredoc),
];

/// The next word, a descriptor's number.
fn number(call: &mut Call<'_>) -> Result<i32, u8> {
    let number = call.number_word()?;
    i32::try_from(number).map_err(|_| call.usage())
}

fn failed(call: &Call<'_>, what: &dyn std::fmt::Display, errno: Errno) -> u8 {
    call.refused(what, &describe(errno))
}

fn redirfd(call: &mut Call<'_>) -> Outcome {
    let mut flags = None;
    let (mut non_blocking, mut flipped) = (false, false);
    while let Some(letter) = call.option(b"rwuaxnb")? {
        match letter {
            b'r' => flags = Some(OFlags::RDONLY),
            b'w' => flags = Some(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC),
            b'u' => flags = Some(OFlags::RDWR),
            b'a' => flags = Some(OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND),
            b'x' => flags = Some(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL),
            b'n' => non_blocking = true,
            _ => flipped = true,
        }
    }
    let mut flags = flags.ok_or_else(|| call.usage())? | OFlags::CLOEXEC;
    let to = number(call)?;
    let path = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    flags.set(OFlags::NONBLOCK, non_blocking);
    let file = open_file(call, path, flags)?;
    let given = descriptors::give(to, file).and_then(|()| {
        if flipped {
            descriptors::set_blocking(to, non_blocking)
        } else {
            Ok(())
        }
    });
    given.map_err(|errno| failed(call, &format_args!("give it number {to}"), errno))?;
    call.exec_rest()
}

fn open_file(call: &Call<'_>, path: &OsStr, flags: OFlags) -> Result<std::os::fd::OwnedFd, u8> {
    let mut opened = open(path, flags, Mode::from_raw_mode(0o666));
    if opened.as_ref().err() == Some(&Errno::NXIO) && flags.contains(OFlags::WRONLY) {
        // A FIFO that nobody reads yet: with a reader of our own it opens for writing.
        let reader = open(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        );
        opened = reader.and_then(|_reader| open(path, flags, Mode::empty()));
    }
    opened.map_err(|errno| failed(call, &format_args!("open {}", path.display()), errno))
}

fn fdmove(call: &mut Call<'_>) -> Outcome {
    let mut copied = false;
    while call.option(b"c")?.is_some() {
        copied = true;
    }
    let (to, from) = (number(call)?, number(call)?);
    let done = if copied {
        descriptors::copy(to, from)
    } else {
        descriptors::move_to(to, from)
    };
    done.map_err(|errno| failed(call, &format_args!("move fd {from} to fd {to}"), errno))?;
    call.exec_needed()
}

fn fdclose(call: &mut Call<'_>) -> Outcome {
    descriptors::close(number(call)?);
    call.exec_needed()
}

fn fdblock(call: &mut Call<'_>) -> Outcome {
    let mut blocking = true;
    while call.option(b"n")?.is_some() {
        blocking = false;
    }
    let fd = number(call)?;
    let done = descriptors::set_blocking(fd, blocking);
    done.map_err(|errno| failed(call, &format_args!("change fd {fd}"), errno))?;
    call.exec_needed()
}

fn fdswap(call: &mut Call<'_>) -> Outcome {
    let (one, other) = (number(call)?, number(call)?);
    let swapped = descriptors::copy_from(one, one.max(other).saturating_add(1)).and_then(|spare| {
        descriptors::copy(one, other)?;
        descriptors::move_to(other, spare)
    });
    swapped.map_err(|errno| failed(call, &format_args!("swap fds {one} and {other}"), errno))?;
    call.exec_needed()
}

/// Tells free numbers; they are still free for the program that follows.
fn fdreserve(call: &mut Call<'_>) -> Outcome {
    let wanted = call.number_word()?;
    let null = File::open("/dev/null").map_err(|error| call.refused(&"open /dev/null", &error))?;
    let mut held = Vec::new();
    for _ in 0..wanted {
        let spare = null.try_clone();
        held.push(spare.map_err(|error| call.refused(&"reserve a descriptor", &error))?);
    }
    for (file, n) in held.iter().zip(0_u32..) {
        let number = std::os::fd::AsRawFd::as_raw_fd(file).to_string();
        call.env.set(format!("FD{n}").as_ref(), number.as_ref());
    }
    drop(held);
    call.exec_needed()
}

fn piperw(call: &mut Call<'_>) -> Outcome {
    let (reader_at, writer_at) = (number(call)?, number(call)?);
    let (reader, writer) = pipe(call)?;
    // Neither may be closed by giving the other its number.
    let least = reader_at.max(writer_at).saturating_add(1);
    let raw = |fd: &std::os::fd::OwnedFd| std::os::fd::AsRawFd::as_raw_fd(fd);
    let moved = descriptors::copy_from(raw(&reader), least).and_then(|reader| {
        let writer = descriptors::copy_from(raw(&writer), least)?;
        Ok((reader, writer))
    });
    drop((reader, writer));
    let given = moved.and_then(|(reader, writer)| {
        descriptors::move_to(reader_at, reader)?;
        descriptors::move_to(writer_at, writer)
    });
    given.map_err(|errno| failed(call, &"make a pipe", errno))?;
    call.exec_needed()
}

fn heredoc(call: &mut Call<'_>) -> Outcome {
    while call.option(b"d")?.is_some() {}
    let to = number(call)?;
    let text = call.word()?;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create("heredoc", flags);
    let mut file = File::from(file.map_err(|errno| failed(call, &"make a file in memory", errno))?);
    let written = file
        .write_all(text.as_encoded_bytes())
        .and_then(|()| std::io::Seek::rewind(&mut file));
    written.map_err(|error| call.refused(&"write", &error))?;
    let given = descriptors::give(to, file.into());
    given.map_err(|errno| failed(call, &format_args!("give it number {to}"), errno))?;
    call.exec_needed()
}
