//! The client of the control socket: one blocking connection, requests and their replies.
//!
//! The supervisor may replace itself while a request is under way (`herm service reexec`, or after
//! its own panic). Services don't notice; connections end. A request that can be made twice
//! without harm is made again on a new connection, any other is reported as unanswered.

mod connection;
mod events;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use herm_wire::{Body, ExitCode, Hello, Op, VerbOptions};

pub(crate) use connection::Connection;
pub(crate) use events::{EventStream, Line, read_line};

use crate::failure::{Failure, Outcome, reason};
use crate::locate::{Surroundings, is_in_a_public_place, socket_in};

/// How long a lost supervisor is given to come back from its re-execution.
const COMEBACK: Duration = Duration::from_secs(10);
/// Between two tries to connect while it does. There is no event to wait for: the socket's file
/// stays, its listener comes and goes.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);
/// Questions sent before their answers are read.
pub(crate) const BATCH: usize = 32;
/// Longest wait for a reply that needs no service to do anything.
pub(crate) const PROMPT_REPLY: Duration = Duration::from_secs(10);

/// A supervisor that answered `hello`.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    connection: Connection,
    hello: Hello,
}

impl Client {
    /// Connects to the supervisor of `home`.
    ///
    /// `Ok(None)`: none is running. A socket that exists but refuses this user, or answers
    /// something else than herm's protocol, is an error: behaviour must not change silently (L21).
    /// But in a home of somebody else's there may be none, and one of this user's further on.
    pub(crate) fn find(at: &Surroundings, home: &Path) -> Outcome<Option<Self>> {
        let mut refused = None;
        for socket in Self::sockets(at, home) {
            match Self::connect(&socket) {
                Ok(Some(client)) if client.serves(home) => return Ok(Some(client)),
                Ok(_) => {}
                Err(failure) if failure.code == ExitCode::NotPermitted => {
                    refused.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Where the supervisor of `home` may listen, the likeliest place first.
    pub(crate) fn sockets(at: &Surroundings, home: &Path) -> Vec<PathBuf> {
        // Anyone may have made one in a public place, unless somebody named it.
        let is_found = |dir: &PathBuf| at.run_dir.is_none() && is_in_a_public_place(dir);
        let is_sound = |dir: &PathBuf| !is_found(dir) || is_roots_or_ours(dir);
        let dirs = at.run_dirs(home).into_iter().filter(is_sound);
        dirs.map(|dir| socket_in(&dir)).collect()
    }

    /// Connects to a socket and says hello. `Ok(None)`: nobody listens there.
    pub(crate) fn connect(socket: &Path) -> Outcome<Option<Self>> {
        let mut connection = match Connection::open(socket) {
            Ok(connection) => connection,
            Err(error) if nobody_listens(&error) => return Ok(None),
            Err(error) => return Err(unreachable(socket, &error)),
        };
        let id = connection
            .send(Op::Hello)
            .map_err(|error| unreachable(socket, &error))?;
        let reply = connection
            .receive(id, Some(PROMPT_REPLY))
            .map_err(|error| unreachable(socket, &error))?;
        match body_of(reply)? {
            Body::Hello(hello) => Ok(Some(Self {
                socket: socket.to_path_buf(),
                connection,
                hello,
            })),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether this supervisor is the one of `home`. One without a home (an image without an
    /// agent) answers for whatever is asked in its container.
    fn serves(&self, home: &Path) -> bool {
        let Some(served) = &self.hello.home else {
            return true;
        };
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        canonical(Path::new(served)) == canonical(home)
    }

    /// Whether the supervisor runs as root. What another one says is no ground for root to act on:
    /// whoever owns the home can listen in it.
    pub(crate) fn is_roots(&self) -> bool {
        herm_sys::credentials::peer(self.connection.stream()).is_ok_and(|peer| peer.uid == 0)
    }

    /// What the supervisor said of itself.
    pub(crate) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The socket it listens on.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks on this connection, and only on this: an error means that it is of no use any more.
    pub(crate) fn try_ask(&mut self, op: &Op) -> io::Result<Outcome<Body>> {
        let id = self.connection.send(op.clone())?;
        self.connection.receive(id, patience(op)).map(body_of)
    }

    /// Asks and waits for the answer, on a new connection where this one is cut.
    pub(crate) fn ask(&mut self, op: &Op) -> Outcome<Body> {
        loop {
            match self.try_ask(op) {
                Ok(answer) => return answer,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Failure::new(
                        ExitCode::TimedOut,
                        format!("the supervisor at {} does not answer", self.socket.display()),
                    )
                    .hint("it should answer within milliseconds whatever its services do; see the container's log"));
                }
                Err(error) if was_cut(&error) && repeatable(op) => self.reconnect()?,
                Err(error) if was_cut(&error) => return Err(unanswered(op)),
                Err(error) => return Err(unreachable(&self.socket, &error)),
            }
        }
    }

    /// Asks many things at once; the answers are in the order of the questions. One connection has
    /// room for a bounded number of questions that wait, so they go out in batches.
    pub(crate) fn ask_all(&mut self, ops: &[Op]) -> Vec<Outcome<Body>> {
        ops.chunks(BATCH)
            .flat_map(|batch| self.ask_batch(batch))
            .collect()
    }

    fn ask_batch(&mut self, ops: &[Op]) -> Vec<Outcome<Body>> {
        let sent: Vec<io::Result<u64>> = ops
            .iter()
            .map(|op| self.connection.send(op.clone()))
            .collect();
        let mut answers: Vec<Option<Outcome<Body>>> = ops.iter().map(|_| None).collect();
        while answers.iter().any(Option::is_none) {
            // One that can't be read any more leaves the rest unanswered; they are asked anew below.
            let Ok(reply) = self.connection.receive_any() else {
                break;
            };
            let asked = sent
                .iter()
                .position(|id| id.as_ref().is_ok_and(|id| *id == reply.id));
            if let Some(answer) = asked.and_then(|index| answers.get_mut(index)) {
                *answer = Some(body_of(reply));
            }
        }
        let cut = answers.iter().any(Option::is_none);
        if cut && let Err(failure) = self.reconnect() {
            return answers
                .into_iter()
                .map(|answer| answer.unwrap_or_else(|| Err(failure.clone())))
                .collect();
        }
        let again = |(answer, op): (Option<Outcome<Body>>, &Op)| match answer {
            Some(answer) => answer,
            None if repeatable(op) => self.ask(op),
            None => Err(unanswered(op)),
        };
        answers.into_iter().zip(ops).map(again).collect()
    }

    /// Waits until the supervisor has gone: its end of the connection closes with it.
    pub(crate) fn wait_for_end(&mut self) {
        while self.connection.next_line(None).is_ok() {}
    }

    /// Sends a request whose answer nobody waits for; it is passed over when it comes.
    pub(crate) fn tell(&mut self, op: Op) -> io::Result<u64> {
        self.connection.send(op)
    }

    /// The connection, to be read along with other things.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// A new connection to the same supervisor after the old one was cut.
    pub(crate) fn reconnect(&mut self) -> Outcome {
        let deadline = Instant::now() + COMEBACK;
        loop {
            if let Ok(Some(next)) = Self::connect(&self.socket) {
                if next.hello.instance != self.hello.instance {
                    return Err(Failure::failed(
                        "the supervisor was stopped and started anew meanwhile",
                    )
                    .hint("ask again: `herm status` shows what runs now"));
                }
                *self = next;
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::failed(format!(
                    "the supervisor at {} went away and did not come back",
                    self.socket.display()
                ))
                .hint("the container is probably stopping; see its log"));
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }

    /// Follows events from now on.
    pub(crate) fn subscribe(self) -> EventStream {
        EventStream::new(self)
    }
}

/// Waiting verbs take as long as the service takes; the supervisor bounds them itself. Everything
/// else is answered at once.
fn patience(op: &Op) -> Option<Duration> {
    match op {
        Op::Start { options, .. }
        | Op::Stop { options, .. }
        | Op::Restart { options, .. }
        | Op::Once { options, .. }
            if options.wait =>
        {
            None
        }
        Op::Wait { .. } | Op::Unregister { .. } | Op::Reconcile { .. } => None,
        _ => Some(PROMPT_REPLY),
    }
}

/// Requests whose second execution changes nothing the first has not.
fn repeatable(op: &Op) -> bool {
    match op {
        Op::Hello
        | Op::Status
        | Op::Service { .. }
        | Op::Subscribe
        | Op::Start { .. }
        | Op::Stop { .. }
        | Op::Wait { .. }
        | Op::Register { .. }
        | Op::Env { .. }
        | Op::Boot
        | Op::Reconcile { .. }
        | Op::AckOrder { .. }
        | Op::AckReconcile { .. }
        | Op::Annotate { .. } => true,
        Op::Restart { .. }
        | Op::Once { .. }
        | Op::Signal { .. }
        | Op::Unregister { .. }
        | Op::AttachKeeper
        | Op::Wake { .. }
        | Op::Shutdown { .. }
        | Op::Reexec => false,
    }
}

/// The options of a verb as a person gives them.
pub(crate) fn verb_options(no_wait: bool, timeout: Option<Duration>) -> VerbOptions {
    VerbOptions {
        wait: !no_wait,
        timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        reconcile: false,
    }
}

/// The payload of a reply, or the error in it.
pub(crate) fn body_of(reply: herm_wire::Reply) -> Outcome<Body> {
    match (reply.ok, reply.err) {
        (_, Some(error)) => Err(error.into()),
        (Some(body), None) => Ok(body),
        (None, None) => Err(Failure::failed("the supervisor's reply is empty")),
    }
}

/// A reply of a type that doesn't answer the question.
pub(crate) fn unexpected(body: &Body) -> Failure {
    let kind = match body {
        Body::Done => "done",
        Body::Hello(_) => "hello",
        Body::Services { .. } => "services",
        Body::Service { .. } => "service",
        Body::Env { .. } => "env",
        Body::Boot(_) => "boot",
    };
    Failure::failed(format!("the supervisor answered with {kind:?}, which does not fit the question"))
        .hint("herm and the running supervisor are of different versions: `herm service reexec` as root upgrades it in place")
}

fn is_roots_or_ours(dir: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let trusted = |found: &fs::Metadata| found.is_dir() && [0, own].contains(&found.uid());
    fs::symlink_metadata(dir).is_ok_and(|found| trusted(&found))
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

fn was_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Failure::new(
            ExitCode::NotPermitted,
            format!(
                "the supervisor at {} can't be reached as this user",
                socket.display()
            ),
        )
        .hint("run the command as the user that owns the home, or as root");
    }
    Failure::failed(format!(
        "can't talk to the supervisor at {}: {}",
        socket.display(),
        reason(error)
    ))
    .hint("if something else listens there, name another place with HERM_RUN_DIR")
}

fn unanswered(op: &Op) -> Failure {
    let verb = match op {
        Op::Restart { .. } => "restart",
        Op::Signal { .. } => "signal",
        Op::Unregister { .. } => "removal",
        Op::Shutdown { .. } => return Failure::silent(ExitCode::Done),
        _ => "request",
    };
    Failure::failed(format!(
        "the supervisor was replaced before it answered; whether the {verb} was taken is unknown"
    ))
    .hint("`herm status` shows what is so now; repeat the command if it was not")
}
