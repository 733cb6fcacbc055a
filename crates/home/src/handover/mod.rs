//! Verbs for the instance that owns the gateways, handed over through the home (L73).
//!
//! In the home's `.herm/requests`, for a request of a random id:
//!
//! | file | written by | means |
//! | --- | --- | --- |
//! | `<id>.json` | the asker | a request; removing it withdraws it |
//! | `<id>.taken` | the owner, by renaming | it is being carried out |
//! | `<id>.answer` | the owner | what came of it; the asker removes it |
//!
//! A request counts for who owns its file: the owner's own user, or root. What others may have
//! written or put there by a link is refused. It can ask for what that user could order anyway.

mod wait;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home};
use crate::name::ProfileName;

pub use wait::{Silence, Waiting};

/// The directory in the home's `.herm`.
pub(crate) const REQUESTS: &str = "requests";
const ASKED: &str = ".json";
const TAKEN: &str = ".taken";
const ANSWERED: &str = ".answer";
/// Largest request that is read.
const MAX_REQUEST_BYTES: u64 = 4096;
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
/// Requests taken at one look, at most.
const MAX_TAKEN: usize = 32;
/// Seconds after which what nobody fetched is removed.
const STALE_S: i64 = 600;
/// Seconds after which a request is not carried out any more: whoever asked has given up.
const EXPIRED_S: i64 = 120;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Verb {
    /// The gateway up from now on.
    Start,
    /// The gateway down from now on.
    Stop,
    /// The gateway down, then up.
    Restart,
    /// The profile gone.
    Delete,
    /// Another name for the profile.
    Rename {
        /// Which.
        to: String,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What.
    #[serde(flatten)]
    pub verb: Verb,
    /// Of which profile.
    pub profile: String,
    /// Answer when the order is taken, not when its result is known.
    #[serde(default)]
    pub no_wait: bool,
    /// Longest wait in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The exit code of contract section 4.
    pub code: u8,
    /// What the command printed.
    #[serde(default)]
    pub output: String,
    /// What it complained of.
    #[serde(default)]
    pub complaint: String,
}

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nobody has taken it.
    Waiting,
    /// The owner is at it.
    Taken,
    /// It is done.
    Answered(Answer),
}

/// A request under way.
#[derive(Debug)]
pub struct Ticket {
    dir: Dir,
    id: String,
}

/// Leaves a request for the owner.
pub fn ask(home: &Home, request: &Request) -> Result<Ticket, HomeError> {
    let dir = requests_dir(home)?;
    let id = random_id().map_err(|e| HomeError::io("name a request in", home.root(), e))?;
    let bytes = serde_json::json!(request).to_string();
    dir.write_atomic(&format!("{id}{ASKED}"), bytes.as_bytes(), PRIVATE)?;
    Ok(Ticket { dir, id })
}

impl Ticket {
    /// How far it has come. The answer is fetched once.
    pub fn progress(&self) -> Result<Progress, HomeError> {
        let answered = format!("{}{ANSWERED}", self.id);
        if let Some(content) = self.dir.read(&answered, MAX_ANSWER_BYTES)? {
            self.dir.remove(&answered)?;
            let answer = serde_json::from_slice(&content.bytes).unwrap_or_else(|_| Answer {
                code: 1,
                output: String::new(),
                complaint: "the owner's answer can't be read".to_owned(),
            });
            return Ok(Progress::Answered(answer));
        }
        Ok(if self.dir.exists(&format!("{}{ASKED}", self.id)) {
            Progress::Waiting
        } else {
            Progress::Taken
        })
    }

    /// Takes the request back; `false` if the owner has taken it already.
    pub fn withdraw(&self) -> Result<bool, HomeError> {
        self.dir.remove(&format!("{}{ASKED}", self.id))
    }
}

/// The directory in which requests and answers appear.
pub(crate) fn directory(home: &Home) -> std::path::PathBuf {
    home.herm_dir().join(REQUESTS)
}

/// What the owner found.
#[derive(Debug, Default)]
pub struct Taken {
    /// Requests to be carried out, with their ids.
    pub requests: Vec<(String, Request)>,
    /// What was refused, in words.
    pub refused: Vec<String>,
}

/// Takes what waits. Only the owner of the gateways does that.
pub fn take(home: &Home, now: SystemTime) -> Result<Taken, HomeError> {
    let dir = requests_dir(home)?;
    let mut taken = Taken::default();
    for name in dir.names()? {
        if taken.requests.len() == MAX_TAKEN {
            break;
        }
        let Some(id) = name.strip_suffix(ASKED).filter(|id| is_id(id)) else {
            remove_if_stale(&dir, &name, now)?;
            continue;
        };
        match read_request(&dir, &name, now) {
            Ok(request) => {
                dir.rename_over(&name, &format!("{id}{TAKEN}"))?;
                taken.requests.push((id.to_owned(), request));
            }
            Err(why) => {
                // Withdrawn meanwhile, or not to be trusted.
                if dir.remove(&name)? {
                    taken
                        .refused
                        .push(format!("request {id} is refused: {why}"));
                }
            }
        }
    }
    Ok(taken)
}

/// Answers a request that was taken.
pub fn answer(home: &Home, id: &str, answer: &Answer) -> Result<(), HomeError> {
    let dir = requests_dir(home)?;
    let bytes = serde_json::json!(answer).to_string();
    dir.write_atomic(&format!("{id}{ANSWERED}"), bytes.as_bytes(), PRIVATE)?;
    dir.remove(&format!("{id}{TAKEN}")).map(drop)
}

fn read_request(dir: &Dir, name: &str, now: SystemTime) -> Result<Request, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty())
        .map_err(|_| "it can't be opened".to_owned())?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| e.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err("it is no file of its own".to_owned());
    }
    let own = rustix::process::geteuid().as_raw();
    if ![0, own].contains(&stat.st_uid) || stat.st_mode & 0o022 != 0 {
        return Err(format!(
            "it is uid {}'s, or others may write it",
            stat.st_uid
        ));
    }
    if clock::unix_seconds(now) - stat.st_mtime > EXPIRED_S {
        return Err("it is too old".to_owned());
    }
    let mut bytes = Vec::new();
    File::from(fd)
        .take(MAX_REQUEST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    let request: Request =
        serde_json::from_slice(&bytes).map_err(|_| "it makes no sense".to_owned())?;
    let is_name = |name: &str| ProfileName::parse(name).is_ok();
    let renamed = match &request.verb {
        Verb::Rename { to } => is_name(to),
        Verb::Start | Verb::Stop | Verb::Restart | Verb::Delete => true,
    };
    if is_name(&request.profile) && renamed {
        Ok(request)
    } else {
        Err("it names no profile".to_owned())
    }
}

fn remove_if_stale(dir: &Dir, name: &str, now: SystemTime) -> Result<(), HomeError> {
    let at = rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW);
    if at.is_ok_and(|at| clock::unix_seconds(now) - at.st_mtime > STALE_S) {
        dir.remove(name)?;
    }
    Ok(())
}

fn requests_dir(home: &Home) -> Result<Dir, HomeError> {
    Dir::open(home.root())?
        .ensure_child(HERM_DIR, PRIVATE_DIR)?
        .ensure_child(REQUESTS, PRIVATE_DIR)
}

fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn random_id() -> Result<String, rustix::io::Errno> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    fn request(verb: Verb) -> Request {
        Request {
            verb,
            profile: "writer".to_owned(),
            no_wait: false,
            timeout_ms: Some(5000),
        }
    }

    fn now() -> SystemTime {
        SystemTime::now()
    }

    #[test]
    fn l73_a_request_reaches_the_owner_and_its_answer_comes_back() {
        let (dir, home) = home();
        for verb in [
            Verb::Start,
            Verb::Stop,
            Verb::Restart,
            Verb::Delete,
            Verb::Rename {
                to: "poet".to_owned(),
            },
        ] {
            let asked = request(verb);
            let ticket = ask(&home, &asked).unwrap();
            assert_eq!(ticket.progress().unwrap(), Progress::Waiting);
            let taken = take(&home, now()).unwrap();
            let [(id, got)] = &taken.requests[..] else {
                panic!("{taken:?}")
            };
            assert_eq!(*got, asked);
            assert_eq!(ticket.progress().unwrap(), Progress::Taken);
            assert!(!ticket.withdraw().unwrap());
            let said = Answer {
                code: 3,
                output: "o".into(),
                complaint: "c".into(),
            };
            answer(&home, id, &said).unwrap();
            assert_eq!(ticket.progress().unwrap(), Progress::Answered(said));
        }
        let left = Dir::open(&dir.path().join(".herm/requests")).unwrap();
        assert_eq!(left.names().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_withdrawn_is_carried_out_by_nobody() {
        let (_dir, home) = home();
        let ticket = ask(&home, &request(Verb::Stop)).unwrap();
        assert!(ticket.withdraw().unwrap());
        assert!(take(&home, now()).unwrap().requests.is_empty());
    }

    #[test]
    fn requests_that_others_may_have_made_are_refused() {
        let (dir, home) = home();
        ask(&home, &request(Verb::Stop)).unwrap();
        let good = take(&home, now()).unwrap();
        assert_eq!(good.requests.len(), 1);
        let requests = dir.path().join(".herm/requests");
        let bytes = serde_json::json!(request(Verb::Stop)).to_string();
        let outside = dir.path().join("outside");
        fs::write(&outside, &bytes).unwrap();
        let place = |number: u32| requests.join(format!("{number:016x}.json"));
        symlink(&outside, place(1)).unwrap();
        fs::hard_link(&outside, place(2)).unwrap();
        fs::write(place(3), &bytes).unwrap();
        fs::set_permissions(place(3), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(place(4), bytes.replace("writer", "../writer")).unwrap();
        fs::write(place(5), "{").unwrap();
        fs::write(place(6), vec![b' '; 100_000]).unwrap();
        let taken = take(&home, now()).unwrap();
        assert!(taken.requests.is_empty(), "{taken:?}");
        assert_eq!(taken.refused.len(), 6, "{taken:?}");
        assert!(outside.exists());
    }

    #[test]
    fn a_request_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            // Only root can make a file of another user.
            return;
        }
        let (dir, home) = home();
        ask(&home, &request(Verb::Stop)).unwrap();
        let requests = dir.path().join(".herm/requests");
        let file = fs::read_dir(&requests).unwrap().next().unwrap().unwrap();
        std::os::unix::fs::chown(file.path(), Some(12345), None).unwrap();
        let taken = take(&home, now()).unwrap();
        assert!(taken.requests.is_empty() && taken.refused.len() == 1);
    }

    #[test]
    fn a_flood_is_taken_in_portions_and_what_nobody_fetched_is_swept() {
        let (dir, home) = home();
        for _ in 0..40 {
            ask(&home, &request(Verb::Stop)).unwrap();
        }
        assert_eq!(take(&home, now()).unwrap().requests.len(), MAX_TAKEN);
        assert_eq!(take(&home, now()).unwrap().requests.len(), 8);
        ask(&home, &request(Verb::Stop)).unwrap();
        let later = now() + std::time::Duration::from_secs(700);
        let late = take(&home, later).unwrap();
        assert!(late.requests.is_empty() && late.refused.len() == 1);
        let left = Dir::open(&dir.path().join(".herm/requests")).unwrap();
        assert_eq!(left.names().unwrap(), Vec::<String>::new());
    }
}
