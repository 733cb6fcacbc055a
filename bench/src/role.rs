//! What contenders execute: the same few programs under every supervisor.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use rustix::event::epoll;

use crate::scratch::now_ms;

/// The length of a log line, its newline included.
const LINE: usize = 120;

#[derive(Subcommand)]
pub(crate) enum Role {
    /// Writes the time of its first instruction to a file and exits
    Stamp {
        /// The file
        file: PathBuf,
    },
    /// Writes lines to its standard output, in writes of 64 KiB
    Lines {
        /// How many bytes
        bytes: usize,
        /// The size to give the pipe
        pipe: usize,
    },
    /// Starts a program so many times, each with a pipe for its output, and waits for ever: what
    /// supervision can't do without
    Spawn {
        /// The program
        program: PathBuf,
        /// How many
        count: usize,
    },
    /// Answers every line on a socket with as many bytes as herm's answer about one service has
    Echo {
        /// Where to listen
        socket: PathBuf,
        /// Bytes of an answer
        bytes: usize,
    },
    /// Reads every file below a directory once
    Read {
        /// The directory
        directory: PathBuf,
    },
}

impl Role {
    pub(crate) fn play(self) -> Result<()> {
        match self {
            Self::Stamp { file } => {
                std::fs::write(file, format!("{}\n", now_ms()))?;
            }
            Self::Lines { bytes, pipe } => lines(bytes, pipe)?,
            Self::Spawn { program, count } => spawn(&program, count)?,
            Self::Echo { socket, bytes } => echo(&socket, bytes)?,
            Self::Read { directory } => read(&directory)?,
        }
        Ok(())
    }
}

fn lines(bytes: usize, pipe: usize) -> Result<()> {
    rustix::pipe::fcntl_setpipe_size(std::io::stdout(), pipe)?;
    let mut line = "The quick brown fox jumps over the lazy dog. ".repeat(3);
    line.truncate(LINE - 1);
    line.push('\n');
    let chunk = line.repeat(65536 / LINE + 1);
    let chunk = &chunk.as_bytes()[..65536 / LINE * LINE];
    let mut output = std::io::stdout().lock();
    for _ in 0..bytes / chunk.len() {
        output.write_all(chunk)?;
    }
    Ok(output.flush()?)
}

fn spawn(program: &Path, count: usize) -> Result<()> {
    let mut children = Vec::with_capacity(count);
    for _ in 0..count {
        let mut command = std::process::Command::new(program);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped());
        children.push(command.spawn()?);
    }
    for child in &mut children {
        child.wait()?;
    }
    Ok(())
}

/// One thread and one epoll set for all clients: what a server on this socket can't do without.
fn echo(socket: &Path, bytes: usize) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = |fd: BorrowedFd<'_>, data| {
        epoll::add(
            &set,
            fd,
            epoll::EventData::new_u64(data),
            epoll::EventFlags::IN,
        )
    };
    watch(listener.as_fd(), u64::MAX)?;
    let mut answer = vec![b' '; bytes];
    answer.push(b'\n');
    let mut clients: Vec<UnixStream> = Vec::new();
    let mut events = Vec::with_capacity(64);
    let mut buffer = [0; 4096];
    loop {
        events.clear();
        epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let Some(client) = usize::try_from(event.data.u64())
                .ok()
                .and_then(|number| clients.get_mut(number))
            else {
                let (client, _) = listener.accept()?;
                watch(client.as_fd(), clients.len() as u64)?;
                clients.push(client);
                continue;
            };
            if client.read(&mut buffer)? == 0 {
                epoll::delete(&set, client)?;
            } else {
                client.write_all(&answer)?;
            }
        }
    }
}

fn read(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read(&entry.path())?;
        } else {
            std::fs::read(entry.path())?;
        }
    }
    Ok(())
}
