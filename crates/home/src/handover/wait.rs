//! Waiting for the owner's answer: how long, and what is said where none comes.

use std::time::{Duration, Instant};

use super::{Answer, Progress, Request, Ticket, ask, directory};
use crate::error::HomeError;
use crate::layout::Home;
use crate::lease;
use crate::watch::{Watch, rest};

/// Between two looks for the answer where nobody tells of files: a person waits for it.
const BLIND_LOOK: Duration = Duration::from_millis(500);
/// How long the owner has to take a request. Where nobody tells it of files it looks every 5 s.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// How long the verb itself may take where the caller sets no limit: longer than any start or stop
/// that is not stuck.
const ANSWERED_WITHIN: Duration = Duration::from_secs(150);

/// A request on its way to an owner, and the answer on its way back.
#[derive(Debug)]
pub struct Waiting {
    home: Home,
    owner: String,
    ticket: Ticket,
    limit: Duration,
}

/// How things stand with it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is over.
    Answered(Answer),
    /// It is over, without an answer.
    Silent(Silence),
    /// Look again when something happens, and after this time in any case.
    Pending(Duration),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// What happened, in words.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

impl Waiting {
    /// Leaves a request for the instance that owns the gateways.
    pub fn begin(home: &Home, owner: &str, request: &Request) -> Result<Self, HomeError> {
        let allowed = request
            .timeout_ms
            .map_or(ANSWERED_WITHIN, Duration::from_millis);
        Ok(Self {
            home: home.clone(),
            owner: owner.to_owned(),
            ticket: ask(home, request)?,
            limit: allowed + TAKEN_WITHIN,
        })
    }

    /// Waits until it is over, with an answer or without.
    pub fn end(&self) -> Result<Result<Answer, Silence>, HomeError> {
        let began = Instant::now();
        // There are few watches per user, and gateways need them more: it goes without.
        let mut watch = Watch::new().ok();
        if let Some(watch) = &mut watch {
            watch.follow_dir(&directory(&self.home))?;
        }
        loop {
            let left = match self.look(began.elapsed())? {
                Standing::Answered(answer) => return Ok(Ok(answer)),
                Standing::Silent(silence) => return Ok(Err(silence)),
                Standing::Pending(left) => left,
            };
            match &mut watch {
                Some(watch) if watch.patience().is_none() => watch.wait_at_most(left).map(drop)?,
                Some(watch) => watch.wait_at_most(left.min(BLIND_LOOK)).map(drop)?,
                None => rest(left.min(BLIND_LOOK)),
            }
        }
    }

    /// How things stand after so long. A request that nobody took in time is withdrawn.
    fn look(&self, waited: Duration) -> Result<Standing, HomeError> {
        let left = match self.ticket.progress()? {
            Progress::Answered(answer) => return Ok(Standing::Answered(answer)),
            Progress::Waiting if waited < TAKEN_WITHIN => TAKEN_WITHIN.saturating_sub(waited),
            Progress::Waiting if self.ticket.withdraw()? => {
                return Ok(Standing::Silent(self.untaken()));
            }
            // It was taken while it was being withdrawn.
            Progress::Waiting | Progress::Taken => self.limit.saturating_sub(waited),
        };
        Ok(if waited >= self.limit {
            Standing::Silent(self.unanswered())
        } else {
            Standing::Pending(left)
        })
    }

    fn untaken(&self) -> Silence {
        let owner = &self.owner;
        let lease = lease::owner(&self.home).ok().flatten();
        let host = lease
            .filter(|lease| lease.id == *owner)
            .map(|lease| format!(" on host {}", lease.host))
            .unwrap_or_default();
        Silence {
            message: format!(
                "instance {owner}{host} runs the gateways of this home and has not taken the order \
                 within {} s; it is withdrawn, nothing has changed",
                TAKEN_WITHIN.as_secs()
            ),
            hint: "look at that container: it may be frozen, or cut off from the volume. One that \
                   is gone is replaced within 30 s",
        }
    }

    fn unanswered(&self) -> Silence {
        Silence {
            message: format!(
                "instance {} has taken the order and not answered yet",
                self.owner
            ),
            hint: "the order stands; `herm status` there shows what came of it",
        }
    }
}

impl Answer {
    /// What the owner refused, in its own words, which begin as every command's do.
    pub fn refusal(&self, owner: &str) -> String {
        let said = self.complaint.trim();
        let said = said.strip_prefix("herm: ").unwrap_or(said);
        format!("instance {owner}, which runs the gateways of this home, says: {said}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::{Verb, answer, take};
    use super::*;

    fn request() -> Request {
        Request {
            verb: Verb::Stop,
            profile: "writer".to_owned(),
            no_wait: false,
            timeout_ms: Some(5000),
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn l73_a_request_that_nobody_takes_is_withdrawn_and_the_owner_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let waiting = Waiting::begin(&home, "i1", &request()).unwrap();
        assert_eq!(
            waiting.look(seconds(5)).unwrap(),
            Standing::Pending(seconds(10))
        );
        let Standing::Silent(silence) = waiting.look(seconds(15)).unwrap() else {
            panic!("it waits on");
        };
        assert!(silence.message.starts_with("instance i1 runs the gateways"));
        assert!(
            take(&home, SystemTime::now()).unwrap().requests.is_empty(),
            "nobody carries it out later"
        );
    }

    #[test]
    fn l73_who_waits_is_woken_by_the_answer() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let waiting = Waiting::begin(&home, "i1", &request()).unwrap();
        let said = Answer {
            code: 0,
            output: "o".into(),
            complaint: String::new(),
        };
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| waiting.end());
            let taken = take(&home, SystemTime::now()).unwrap();
            answer(&home, &taken.requests[0].0, &said).unwrap();
            assert_eq!(waits.join().unwrap().unwrap(), Ok(said.clone()));
        });
    }

    #[test]
    fn what_was_taken_is_waited_for_as_long_as_it_may_take() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let waiting = Waiting::begin(&home, "i1", &request()).unwrap();
        let taken = take(&home, SystemTime::now()).unwrap();
        assert_eq!(
            waiting.look(seconds(16)).unwrap(),
            Standing::Pending(seconds(4))
        );
        assert!(matches!(
            waiting.look(seconds(20)).unwrap(),
            Standing::Silent(silence) if silence.message.contains("not answered yet")
        ));
        let said = Answer {
            code: 0,
            output: "o".into(),
            complaint: String::new(),
        };
        answer(&home, &taken.requests[0].0, &said).unwrap();
        assert_eq!(
            waiting.look(seconds(21)).unwrap(),
            Standing::Answered(said),
            "an answer counts however late"
        );
    }

    #[test]
    fn l73_a_refusal_is_in_the_owners_words_and_names_it() {
        let answer = Answer {
            code: 124,
            output: String::new(),
            complaint: "herm: can't stop writer: the time allowed is over\n  wait longer\n".into(),
        };
        assert_eq!(
            answer.refusal("i1"),
            "instance i1, which runs the gateways of this home, says: can't stop writer: the time \
             allowed is over\n  wait longer"
        );
    }
}
