//! `herm top`: the tree live, with the log of one service below it.
//!
//! Three things come from outside: keys, the supervisor's events (a thread each), and the log's new
//! lines, which are looked for each time the clock on the screen moves. What a key orders is done by
//! this program's own `herm service …`, so that it means here exactly what it means there.

mod model;
mod view;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};

use herm_dashboard::Samples;
use herm_wire::EventBody;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyEvent, KeyEventKind};

use crate::client::Client;
use crate::commands::LogTail;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

use model::{Effect, Model};

/// The screen has clocks on it, which move twice a second.
const CLOCK: Duration = Duration::from_millis(500);
/// Between two measurements of memory and processor time.
const MEASURED: Duration = Duration::from_secs(2);
/// Between two looks for a supervisor where there is none: the socket it will make has no event.
const LOOK: Duration = Duration::from_secs(1);

/// What happens.
enum Message {
    Key(KeyEvent),
    Resized,
    Heard(Box<EventBody>),
    Lost(String),
    Done(String),
}

/// Shows everything until the user leaves.
pub(crate) fn run(context: &Context) -> Outcome {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("`herm top` needs a terminal").hint(
            "without one: `herm status`, or `herm events -f`; in a container: `docker exec -it …`",
        ));
    }
    let client = context.supervisor()?;
    let (sender, receiver) = channel();
    listen(client, sender.clone());
    let mut terminal = ratatui::try_init()?;
    read_keys(sender.clone());
    let outcome = Screen::new(context, sender).show(&mut terminal, &receiver);
    ratatui::try_restore()?;
    outcome
}

/// Hands on events; looks for the supervisor again when it is gone.
fn listen(client: Client, sender: Sender<Message>) {
    thread::spawn(move || {
        let socket = client.socket().to_owned();
        let mut stream = client.subscribe();
        loop {
            let message = match stream.next() {
                Ok(event) => Message::Heard(Box::new(event.body)),
                Err(failure) => Message::Lost(format!(
                    "no supervisor answers ({}); what you see is old, and a new one is looked for",
                    failure.message
                )),
            };
            let lost = matches!(message, Message::Lost(_));
            if sender.send(message).is_err() {
                return;
            }
            if lost {
                stream = found_again(&socket).subscribe();
            }
        }
    });
}

fn found_again(socket: &Path) -> Client {
    loop {
        thread::sleep(LOOK);
        if let Ok(Some(client)) = Client::connect(socket) {
            return client;
        }
    }
}

fn read_keys(sender: Sender<Message>) {
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            let message = match event {
                event::Event::Key(key) if key.kind == KeyEventKind::Press => Message::Key(key),
                event::Event::Resize(..) => Message::Resized,
                _ => continue,
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    });
}

struct Screen<'a> {
    context: &'a Context,
    sender: Sender<Message>,
    model: Model,
    log: Option<(PathBuf, LogTail)>,
    drawn: Instant,
    usage: Samples,
    measured: Option<Instant>,
}

impl<'a> Screen<'a> {
    fn new(context: &'a Context, sender: Sender<Message>) -> Self {
        Self {
            context,
            sender,
            model: Model::default(),
            log: None,
            drawn: Instant::now(),
            usage: Samples::default(),
            measured: None,
        }
    }

    fn show(mut self, terminal: &mut DefaultTerminal, receiver: &Receiver<Message>) -> Outcome {
        loop {
            self.follow_log();
            self.model.pass(self.drawn.elapsed());
            self.drawn = Instant::now();
            self.measure();
            terminal.draw(|frame| view::draw(frame, &self.model, SystemTime::now()))?;
            let mut next = receiver.recv_timeout(CLOCK);
            // Everything that has come is taken before the screen is drawn again.
            while let Ok(message) = next {
                if self.take(message) {
                    return Ok(());
                }
                next = receiver.try_recv().map_err(|_| RecvTimeoutError::Timeout);
            }
        }
    }

    /// Whether this is the end.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Resized => {}
            Message::Heard(event) => self.model.hear(*event),
            Message::Lost(why) => self.model.lost = Some(why),
            Message::Done(said) => self.model.notice = Some(said),
            Message::Key(key) => match self.model.press(key) {
                Some(Effect::Quit) => return true,
                Some(Effect::Order { verb, name }) => self.order(verb, name),
                None => {}
            },
        }
        false
    }

    fn order(&mut self, verb: &'static str, name: String) {
        self.model.notice = Some(format!("{verb} {name} …"));
        let sender = self.sender.clone();
        let home = self.context.home().root().to_owned();
        thread::spawn(move || {
            let mut command = Command::new("/proc/self/exe");
            command
                .arg("--home")
                .arg(home)
                .args(["service", verb, &name]);
            let said = match command.output() {
                Ok(output) if output.status.success() => format!("{verb} {name}: done"),
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stderr).into_owned();
                    text.lines()
                        .next()
                        .unwrap_or("it failed without a word")
                        .to_owned()
                }
                Err(error) => format!("{verb} {name}: {error}"),
            };
            // Nobody listens any more after the user has left.
            let _ = sender.send(Message::Done(said));
        });
    }

    fn follow_log(&mut self) {
        let wanted = self
            .model
            .selected()
            .and_then(|service| service.log_dir.clone());
        let wanted = wanted.map(PathBuf::from);
        if self.log.as_ref().map(|(dir, _)| dir) != wanted.as_ref() {
            self.model.clear_log();
            self.log = wanted.and_then(|dir| {
                let (tail, lines) = LogTail::begin(&dir).ok()?;
                self.model.append_log(lines);
                Some((dir, tail))
            });
        }
        if let Some((_, tail)) = &mut self.log {
            self.model.append_log(tail.new_lines().unwrap_or_default());
        }
    }

    fn measure(&mut self) {
        if self.measured.is_none_or(|then| then.elapsed() >= MEASURED) {
            self.usage.take(&self.model.services(), Path::new("/proc"));
            self.measured = Some(Instant::now());
        }
        for service in self.model.services_mut() {
            self.usage.complete(service);
        }
    }
}
