//! The lease while it is held: renewed, watched and given up beside the keeper's own work.
//!
//! Two threads, because a hung volume may hold up whatever touches it. [`keep`] renews the lease
//! and looks at the others', so it may hang. [`guard`](super::guard::guard) touches nothing but the
//! control socket: when the lease could not be renewed in time it stops the gateways. What the
//! decisions are is [`herm_home::lease::machine`]'s.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use herm_home::HomeError;
use herm_home::lease::{Machine, Standing, Step, Store, Timing, Wrote};
use herm_home::settings::Role;
use herm_home::watch::{Changes, Watch, is_blind};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{guard, serve};
use crate::client::Client;
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::launch::read_settings;

/// A file's closing is told before its lock is gone, so after a change one looks once more.
const ONCE_MORE: Duration = Duration::from_millis(250);
/// Rounds of a cycle that follow each other at once, when others were quicker.
const ROUNDS: usize = 4;
/// How long the end of the keeper waits for its lease to be released.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// What the threads and the keeper share.
#[derive(Debug)]
pub(super) struct Shared {
    machine: Mutex<Machine>,
    /// The machine has something new for the guard.
    news: Condvar,
    /// Rung when the keeper should look at its standing.
    bell: OwnedFd,
    remarks: Mutex<Vec<String>>,
    began: Instant,
    /// This instance.
    pub(super) id: String,
    /// Where PID 1 listens.
    pub(super) socket: PathBuf,
    /// Rung when the lease is to be released.
    quit: OwnedFd,
    released: Mutex<bool>,
    release_done: Condvar,
}

impl Shared {
    /// Monotonic time, as the machine counts it.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The machine, to ask or to tell; nobody waits for a disk while holding it.
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the machine has news, or for so long.
    pub(super) fn wait_for_news<'a>(
        &self,
        machine: MutexGuard<'a, Machine>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, Machine> {
        let longest = limit.unwrap_or(Duration::from_secs(3600));
        match self.news.wait_timeout(machine, longest) {
            Ok((machine, _)) => machine,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }

    /// Has the keeper say something.
    pub(super) fn remark(&self, text: String) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks.push(text);
        drop(remarks);
        self.ring();
    }

    /// Wakes the keeper.
    pub(super) fn ring(&self) {
        // It can only be full, and then it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

/// The keeper's handle of its lease.
#[derive(Debug)]
pub(super) struct Leases {
    shared: Arc<Shared>,
}

impl Leases {
    /// Starts looking after the lease of the instance that `client` is connected to.
    pub(super) fn start(context: &Context, client: &Client) -> Outcome<Self> {
        let cannot =
            |error: std::io::Error| Failure::failed(format!("can't keep a lease: {error}"));
        let home = context.home();
        let id = client.hello().instance.clone();
        let blind = is_blind(home.root());
        let may_own = read_settings(home).settings.role != Some(Role::Dashboard);
        let bell = || {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            eventfd(0, flags).map_err(|error| cannot(error.into()))
        };
        let shared = Arc::new(Shared {
            machine: Mutex::new(Machine::new(Timing::STANDARD, may_own, blind)),
            news: Condvar::new(),
            bell: bell()?,
            remarks: Mutex::default(),
            began: Instant::now(),
            id: id.clone(),
            socket: client.socket().to_path_buf(),
            quit: bell()?,
            released: Mutex::default(),
            release_done: Condvar::new(),
        });
        let keeping = Keeping {
            shared: Arc::clone(&shared),
            store: Store::new(home, &id, blind),
            wrote: None,
            refused: None,
            watch: Watch::new().map_err(home_failure)?,
            once_more: false,
            complained: String::new(),
            serving: serve::Serving::new(home),
        };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn(body).map(drop).map_err(cannot)
        };
        spawn("lease", Box::new(move || keeping.keep()))?;
        let guarded = Arc::clone(&shared);
        spawn("lease-guard", Box::new(move || guard::guard(&guarded)))?;
        Ok(Self { shared })
    }

    /// What this instance is now.
    pub(super) fn standing(&self) -> Standing {
        self.shared.machine().standing(self.shared.now())
    }

    /// Whether another instance may wait to take over.
    pub(super) fn is_exposed(&self) -> bool {
        self.shared.machine().is_exposed()
    }

    /// What is to be said since the last call; the bell is quiet after it.
    pub(super) fn take_remarks(&self) -> Vec<String> {
        let mut rings = [0; 8];
        // Empty: nobody rang.
        let _ = rustix::io::read(&self.shared.bell, &mut rings);
        let remarks = self.shared.remarks.lock();
        std::mem::take(&mut *remarks.unwrap_or_else(PoisonError::into_inner))
    }

    /// The gateways have stopped: others need not wait. A disk that hangs now is not waited for; the
    /// lock goes with the process in any case.
    pub(super) fn release(&self) {
        let shared = &self.shared;
        let _ = rustix::io::write(&shared.quit, &1_u64.to_ne_bytes());
        let released = shared.released.lock();
        let released = released.unwrap_or_else(PoisonError::into_inner);
        let waited = shared
            .release_done
            .wait_timeout_while(released, RELEASE_WITHIN, |released| !*released);
        drop(waited);
    }
}

impl AsFd for Leases {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

/// The thread that touches the volume.
struct Keeping {
    shared: Arc<Shared>,
    store: Store,
    /// When the last renewal was tried, and what came of it.
    wrote: Option<(Duration, Wrote)>,
    /// When the home last refused an epoch.
    refused: Option<Duration>,
    watch: Watch,
    /// A change was seen, and what it announced may not be so yet.
    once_more: bool,
    complained: String,
    serving: serve::Serving,
}

impl Keeping {
    fn keep(mut self) {
        loop {
            let before = self.begin_to_look();
            self.follow();
            if let Err(error) = self.cycle() {
                self.shared.machine().saw_nothing();
                self.complain(&error);
            }
            let now = self.shared.now();
            let machine = self.shared.machine();
            let (standing, next) = (machine.standing(now), machine.next_cycle(now));
            self.shared.news.notify_all();
            drop(machine);
            if standing != before {
                self.shared.ring();
            }
            if standing == Standing::Owner {
                self.serving.serve(&self.shared);
            }
            if self.wait(next) {
                return self.end();
            }
        }
    }

    /// The standing before a look; the guard counts from here.
    fn begin_to_look(&self) -> Standing {
        let now = self.shared.now();
        let mut machine = self.shared.machine();
        machine.looks(now);
        self.shared.news.notify_all();
        machine.standing(now)
    }

    fn end(mut self) {
        if let Err(error) = self.store.release() {
            self.complain(&error);
        }
        let released = self.shared.released.lock();
        *released.unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.release_done.notify_all();
    }

    /// One renewal and look, and what follows from them at once.
    fn cycle(&mut self) -> Result<(), HomeError> {
        for _ in 0..ROUNDS {
            let (began, wrote) = self.renew();
            let look = self.store.look()?;
            let step = {
                let mut machine = self.shared.machine();
                machine.cycle(began, self.shared.now(), wrote, &look)
            };
            let Step::Take(epoch) = step else {
                break;
            };
            if self.was_just_refused() {
                self.shared.machine().refused();
                break;
            }
            if self.take(epoch)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the home refused an epoch within a beat. On a full disk each try makes a file and removes
    /// it, which is news to whoever watches the directory, this thread among them: with the next try
    /// at once that would go on for ever.
    fn was_just_refused(&self) -> bool {
        let now = self.shared.now();
        let is_recent = |at| now.saturating_sub(at) < Timing::STANDARD.beat;
        self.refused.is_some_and(is_recent)
    }

    /// Renews the lease where that is due.
    fn renew(&mut self) -> (Duration, Wrote) {
        let now = self.shared.now();
        if let Some((began, wrote)) = self.wrote
            && now.saturating_sub(began) < Timing::STANDARD.beat
        {
            return (began, wrote);
        }
        let epoch = self.shared.machine().epoch();
        let wrote = match self.store.renew(epoch) {
            Ok(()) => Wrote::Yes,
            Err(error) => {
                self.complain(&error);
                if error.is_refusal() {
                    Wrote::Refused
                } else {
                    Wrote::Failed
                }
            }
        };
        self.wrote = Some((now, wrote));
        (now, wrote)
    }

    /// Tries to create an epoch; `false` if another instance did.
    fn take(&mut self, epoch: u64) -> Result<bool, HomeError> {
        let predecessor = self.shared.machine().predecessor().map(str::to_owned);
        let began = self.shared.now();
        match self.store.take(epoch) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                if error.is_refusal() {
                    self.refused = Some(self.shared.now());
                    self.shared.machine().refused();
                }
                return Err(error);
            }
        }
        let look = self.store.look()?;
        let sighting = predecessor.as_deref().and_then(|id| self.store.sight(id));
        let mut machine = self.shared.machine();
        machine.took(began, self.shared.now(), &look, sighting.as_ref());
        drop(machine);
        if let Some(id) = predecessor {
            self.shared.remark(format!(
                "epoch {epoch} of this home follows that of instance {id}"
            ));
        }
        // Others may have it by now: then theirs is the higher one, and ours is of no use.
        self.store.sweep(epoch)?;
        Ok(true)
    }

    /// Watches the directories in which others come, go and ask.
    fn follow(&mut self) {
        for dir in self.store.directories() {
            // Where that can't be done the watch itself says to look now and then.
            if let Err(failure) = self.watch.follow_dir(&dir) {
                self.shared.remark(failure.to_string());
            }
        }
    }

    /// Waits until something may have changed; `true`: the lease is to be released.
    fn wait(&mut self, next: Option<Duration>) -> bool {
        let now = self.shared.now();
        let once_more = std::mem::take(&mut self.once_more).then_some(ONCE_MORE);
        let limits = next.map(|at| at.saturating_sub(now));
        let limits = limits.into_iter().chain(once_more);
        let deadline = limits
            .chain(self.watch.patience())
            .min()
            .map(|left| now + left);
        loop {
            let left = deadline.map(|at| at.saturating_sub(self.shared.now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [
                PollFd::new(&self.shared.quit, PollFlags::IN),
                PollFd::new(&self.watch, PollFlags::IN),
            ];
            let ready = poll(&mut fds, timeout.as_ref());
            if fds.first().is_some_and(|fd| !fd.revents().is_empty()) {
                return true;
            }
            let changes = self.watch.drain();
            if self.is_news(&changes) {
                self.once_more = true;
                return false;
            }
            if ready == Ok(0) {
                return false;
            }
        }
    }

    /// Whether somebody else changed something: our own renewals are no news.
    fn is_news(&self, changes: &Changes) -> bool {
        match changes {
            Changes::Lost => true,
            Changes::Known(changes) => changes.iter().any(|change| change.name != self.shared.id),
        }
    }

    /// Says what is wrong, once until something else is.
    fn complain(&mut self, error: &HomeError) {
        let text = format!("lease: {error}");
        if self.complained != text {
            self.complained.clone_from(&text);
            self.shared.remark(text);
        }
    }
}
