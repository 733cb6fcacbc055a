//! The owner's side of verbs that come through the home (L73): each is carried out by this very
//! command line, as if it had been typed here, and its words are the answer.

use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use herm_home::handover::{self, Answer, Request, Verb};
use herm_home::{Home, ProfileName};
use herm_wire::{Desired, Order};

use super::leases::Shared;

/// Verbs under way at once; the others wait in the home.
const AT_ONCE: usize = 16;
/// Longest output that goes back, in bytes.
const MAX_OUTPUT: usize = 60_000;
/// Tells the command line that its verb came from elsewhere: it is not handed on once more.
pub(crate) const HANDED_OVER: &str = "HERM_HANDED_OVER";

/// Takes verbs and carries them out.
#[derive(Debug)]
pub(super) struct Serving {
    home: Home,
    under_way: Arc<AtomicUsize>,
}

impl Serving {
    /// For this home.
    pub(super) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            under_way: Arc::default(),
        }
    }

    /// Takes what waits, unless enough is under way.
    pub(super) fn serve(&self, shared: &Arc<Shared>) {
        if self.under_way.load(Ordering::Acquire) >= AT_ONCE {
            return;
        }
        let taken = match handover::take(&self.home, SystemTime::now()) {
            Ok(taken) => taken,
            Err(error) => return shared.remark(format!("requests: {error}")),
        };
        taken.refused.into_iter().for_each(|why| shared.remark(why));
        for (id, request) in taken.requests {
            self.begin(shared, id, request);
        }
    }

    fn begin(&self, shared: &Arc<Shared>, id: String, request: Request) {
        let (home, under_way) = (self.home.clone(), Arc::clone(&self.under_way));
        let told = Arc::clone(shared);
        under_way.fetch_add(1, Ordering::AcqRel);
        let serve = move || {
            let answered = handover::answer(&home, &id, &carry_out(&home, &request));
            if let Err(error) = answered {
                told.remark(format!("requests: {error}"));
            }
            under_way.fetch_sub(1, Ordering::AcqRel);
        };
        let thread = thread::Builder::new().name("request".to_owned());
        if let Err(error) = thread.spawn(serve) {
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            shared.remark(format!("requests: can't start a thread: {error}"));
        }
    }
}

fn carry_out(home: &Home, request: &Request) -> Answer {
    let own = env::current_exe().unwrap_or_else(|_| "herm".into());
    let run = Command::new(own)
        .arg("--home")
        .arg(home.root())
        .args(words(request))
        .env(HANDED_OVER, "1")
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(run) => Answer {
            code: run
                .status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(1),
            output: text(&run.stdout),
            complaint: text(&run.stderr),
        },
        Err(error) => Answer {
            code: 1,
            output: String::new(),
            complaint: format!("the owner can't start herm: {error}"),
        },
    }
}

/// Hands an order on to the owner, whose answer nobody here waits for.
pub(super) fn pass_on(home: &Home, order: &Order) -> Result<(), String> {
    let Some(profile) = ProfileName::from_service(&order.name) else {
        return Ok(());
    };
    let request = Request {
        verb: match order.want {
            Desired::Up => Verb::Start,
            Desired::Down => Verb::Stop,
        },
        profile: profile.to_string(),
        no_wait: true,
        timeout_ms: None,
    };
    let asked = handover::ask(home, &request).map(drop);
    asked.map_err(|error| format!("{profile}: the order can't be handed to the owner: {error}"))
}

/// The command line of a request. What it names are valid profiles' names.
fn words(request: &Request) -> Vec<String> {
    let profile = request.profile.as_str();
    let verb = match &request.verb {
        Verb::Delete => {
            return ["profile", "delete", "-y", profile]
                .map(str::to_owned)
                .into();
        }
        Verb::Rename { to } => return ["profile", "rename", profile, to].map(str::to_owned).into(),
        Verb::Start => "start",
        Verb::Stop => "stop",
        Verb::Restart => "restart",
    };
    let mut words = ["-p", profile, "gateway", verb, "--json"]
        .map(str::to_owned)
        .to_vec();
    match (request.no_wait, request.timeout_ms) {
        (true, _) => words.push("--no-wait".to_owned()),
        (false, Some(ms)) => words.extend(["--timeout".to_owned(), format!("{ms}ms")]),
        (false, None) => {}
    }
    words
}

fn text(bytes: &[u8]) -> String {
    let kept = bytes.get(..MAX_OUTPUT).unwrap_or(bytes);
    String::from_utf8_lossy(kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verb: Verb, no_wait: bool, timeout_ms: Option<u64>) -> String {
        let profile = "writer".to_owned();
        words(&Request {
            verb,
            profile,
            no_wait,
            timeout_ms,
        })
        .join(" ")
    }

    #[test]
    fn a_request_is_the_command_line_that_would_be_typed_here() {
        assert_eq!(
            line(Verb::Start, false, Some(1500)),
            "-p writer gateway start --json --timeout 1500ms"
        );
        assert_eq!(
            line(Verb::Restart, true, None),
            "-p writer gateway restart --json --no-wait"
        );
        assert_eq!(line(Verb::Delete, false, None), "profile delete -y writer");
        let to = "poet".to_owned();
        assert_eq!(
            line(Verb::Rename { to }, false, None),
            "profile rename writer poet"
        );
    }
}
