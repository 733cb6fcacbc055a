//! A client of herm's control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use herm_wire::{Op, PROTOCOL_VERSION, Reply, Request};

use crate::scratch::HANG;

pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    next: u64,
}

impl Client {
    /// Connects as soon as somebody listens.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let began = Instant::now();
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    return Ok(Self {
                        stream: BufReader::new(stream),
                        next: 0,
                    });
                }
                Err(error) if began.elapsed() > HANG => {
                    return Err(error)
                        .with_context(|| format!("nobody listens on {}", socket.display()));
                }
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// Asks and gives the answer's line; a refusal is an error.
    pub(crate) fn ask(&mut self, op: Op) -> Result<String> {
        self.send(op)?;
        self.answer()
    }

    /// Asks without waiting for the answer.
    pub(crate) fn send(&mut self, op: Op) -> Result<()> {
        self.next += 1;
        let request = Request {
            v: PROTOCOL_VERSION,
            id: self.next,
            op,
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        Ok(self.stream.get_mut().write_all(&line)?)
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Result<String> {
        let line = self.line()?;
        let reply: Reply = serde_json::from_str(&line)?;
        match reply.err {
            None => Ok(line),
            Some(error) => bail!("the supervisor refused: {}", error.message),
        }
    }

    /// The next line, whatever it says.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the supervisor closed the connection");
        }
        Ok(line)
    }
}
