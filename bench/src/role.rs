//! What contenders execute: the same few programs under every supervisor.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

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
    },
    /// Starts a program so many times, each with a pipe for its output, and waits for ever: what
    /// supervision can't do without
    Spawn {
        /// The program
        program: PathBuf,
        /// How many
        count: usize,
    },
    /// Sends so many requests to a control socket and prints how long each took, in ms
    Status {
        /// The socket
        socket: PathBuf,
        /// How many
        count: usize,
    },
}

impl Role {
    pub(crate) fn play(self) -> Result<()> {
        match self {
            Self::Stamp { file } => {
                std::fs::write(file, format!("{}\n", now_ms()))?;
            }
            Self::Lines { bytes } => lines(bytes)?,
            Self::Spawn { program, count } => spawn(&program, count)?,
            Self::Status { socket, count } => {
                let mut client = crate::client::Client::connect(&socket)?;
                for _ in 0..count {
                    let began = now_ms();
                    client.ask(herm_wire::Op::Status)?;
                    println!("{}", now_ms() - began);
                }
            }
        }
        Ok(())
    }
}

fn lines(bytes: usize) -> Result<()> {
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

fn spawn(program: &std::path::Path, count: usize) -> Result<()> {
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
