//! The client of the control socket: what the dashboard knows and does goes through it and nothing
//! else. A request has a connection of its own, of which there are few at once, so that a flood of
//! visitors is never one of PID 1's clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use herm_wire::frame::{LineBuffer, MAX_REPLY_BYTES, decode, encode};
use herm_wire::{Body, ErrorBody, ErrorCode, Hello, Op, PROTOCOL_VERSION, Reply, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Requests under way at once; more wait.
const MAX_REQUESTS: usize = 16;
/// Longest wait for an answer that needs no service to do anything.
const PROMPT_REPLY: Duration = Duration::from_secs(10);
/// Longest wait for a verb; PID 1 bounds it sooner by the timeout that it is asked with.
const VERB_REPLY: Duration = Duration::from_secs(60);
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Where supervisors may listen, and for which home one is wanted.
#[derive(Debug)]
pub(crate) struct Control {
    sockets: Vec<PathBuf>,
    home: PathBuf,
    slots: Semaphore,
}

/// A connection that said hello.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    lines: LineBuffer,
    last_id: u64,
    chunk: Vec<u8>,
}

impl Control {
    /// A client of the supervisor of `home` that listens at one of `sockets`.
    pub(crate) fn new(sockets: Vec<PathBuf>, home: &Path) -> Self {
        let home = home.canonicalize().unwrap_or_else(|_| home.to_path_buf());
        Self {
            sockets,
            home,
            slots: Semaphore::new(MAX_REQUESTS),
        }
    }

    /// Connects and says hello.
    pub(crate) async fn connect(&self) -> Result<(Connection, Hello), ErrorBody> {
        for socket in &self.sockets {
            let Ok(stream) = UnixStream::connect(socket).await else {
                continue;
            };
            let mut connection = Connection {
                stream,
                lines: LineBuffer::new(MAX_REPLY_BYTES),
                last_id: 0,
                chunk: vec![0; CHUNK_BYTES],
            };
            match connection.ask(Op::Hello).await? {
                Body::Hello(hello) if self.is_meant(&hello) => return Ok((connection, hello)),
                _ => {}
            }
        }
        Err(unavailable(format!(
            "no supervisor runs for {}",
            self.home.display()
        )))
    }

    /// A supervisor without a home answers for whatever is asked in its container.
    fn is_meant(&self, hello: &Hello) -> bool {
        let Some(served) = hello.home.as_ref().map(PathBuf::from) else {
            return true;
        };
        served.canonicalize().unwrap_or(served) == self.home
    }

    /// Asks one thing.
    pub(crate) async fn ask(&self, op: Op) -> Result<Body, ErrorBody> {
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| unavailable("it is stopping".into()))?;
        let (mut connection, _) = self.connect().await?;
        connection.ask(op).await
    }
}

impl Connection {
    /// Sends a request; its reply carries the number that is returned.
    pub(crate) async fn send(&mut self, op: Op) -> Result<u64, ErrorBody> {
        self.last_id += 1;
        let request = Request {
            v: PROTOCOL_VERSION,
            id: self.last_id,
            op,
        };
        let line = encode(&request).map_err(|error| fault(&error.to_string()))?;
        self.stream
            .write_all(&line)
            .await
            .map_err(|error| cut(&error))?;
        Ok(self.last_id)
    }

    async fn ask(&mut self, op: Op) -> Result<Body, ErrorBody> {
        let patience = match &op {
            Op::Start { .. }
            | Op::Stop { .. }
            | Op::Restart { .. }
            | Op::Unregister { .. }
            | Op::Reconcile { .. } => VERB_REPLY,
            _ => PROMPT_REPLY,
        };
        let exchange = async {
            let id = self.send(op).await?;
            loop {
                let line = self.next_line().await?;
                let reply: Reply = decode(&line).map_err(|error| fault(&error.to_string()))?;
                if reply.id == id || reply.id == 0 {
                    return body_of(reply);
                }
            }
        };
        timeout(patience, exchange).await.unwrap_or_else(|_| {
            Err(ErrorBody {
                code: ErrorCode::TimedOut,
                message: "the supervisor does not answer".into(),
                hint: Some("see the container's log".into()),
            })
        })
    }

    /// The next line, which is waited for.
    pub(crate) async fn next_line(&mut self) -> Result<Vec<u8>, ErrorBody> {
        loop {
            if let Some(line) = self
                .lines
                .next_line()
                .map_err(|_| fault("a line too long"))?
            {
                return Ok(line);
            }
            let count = self
                .stream
                .read(&mut self.chunk)
                .await
                .map_err(|error| cut(&error))?;
            if count == 0 {
                return Err(unavailable("the supervisor closed the connection".into()));
            }
            self.lines.push(self.chunk.get(..count).unwrap_or_default());
        }
    }
}

fn body_of(reply: Reply) -> Result<Body, ErrorBody> {
    match (reply.ok, reply.err) {
        (_, Some(error)) => Err(error),
        (Some(body), None) => Ok(body),
        (None, None) => Err(fault("an empty reply")),
    }
}

fn unavailable(message: String) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::ShuttingDown,
        message,
        hint: Some("start one with `herm up`, or look at the container's log".into()),
    }
}

fn cut(error: &std::io::Error) -> ErrorBody {
    unavailable(format!("the supervisor went away: {error}"))
}

fn fault(what: &str) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Internal,
        message: format!("the supervisor's answer makes no sense: {what}"),
        hint: Some("herm and the running supervisor are of different versions".into()),
    }
}
