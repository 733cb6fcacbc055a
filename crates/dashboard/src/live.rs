//! What is so now: a copy of PID 1's own picture, kept by its events, and a feed of what changed
//! for everyone who looks. One subscription serves all visitors.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use herm_wire::frame::decode;
use herm_wire::{ErrorBody, Event, EventBody, Hello, Op, Reply, ServiceView};
use tokio::sync::broadcast;

use crate::control::Control;
use crate::metrics::Exits;

/// Changes kept for a reader that is slower than they come; one that falls further behind is told
/// to look at everything anew.
const FEED_LENGTH: usize = 512;
/// Between two tries to reach a supervisor. There is no event to wait for: the socket's file stays,
/// its listener comes and goes.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// The picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture {
    /// Who answered; none while nobody does.
    pub(crate) hello: Option<Hello>,
    /// Why nobody does.
    pub(crate) trouble: Option<ErrorBody>,
    /// Every service by name, as of the last event.
    pub(crate) services: BTreeMap<String, ServiceView>,
    /// Everything is being stopped.
    pub(crate) stopping: bool,
    /// Exits seen since the dashboard started.
    pub(crate) exits: Exits,
}

/// What changed.
#[derive(Debug, Clone)]
pub(crate) enum Update {
    /// A service is new or not as it was.
    Service(Arc<ServiceView>),
    /// A service is gone.
    Removed(String),
    /// Something else: the connection, the boot, a notice. The whole is to be looked at again.
    Whole,
    /// New samples of memory and processor.
    Samples(Arc<str>),
}

/// Shared by everyone.
#[derive(Debug)]
pub(crate) struct Live {
    picture: RwLock<Picture>,
    feed: broadcast::Sender<Update>,
    /// Events of the control protocol as lines, for the API.
    raw: broadcast::Sender<Arc<str>>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            picture: RwLock::default(),
            feed: broadcast::Sender::new(FEED_LENGTH),
            raw: broadcast::Sender::new(FEED_LENGTH),
        }
    }

    /// The picture; never held across a wait.
    pub(crate) fn picture(&self) -> RwLockReadGuard<'_, Picture> {
        self.picture.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Picture> {
        self.picture.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A service by its own name or its profile's.
    pub(crate) fn service(&self, name: &str) -> Option<ServiceView> {
        let picture = self.picture();
        let by_profile = || {
            picture
                .services
                .values()
                .find(|service| service.profile.as_deref() == Some(name))
        };
        picture.services.get(name).or_else(by_profile).cloned()
    }

    /// Every service.
    pub(crate) fn services(&self) -> Vec<ServiceView> {
        self.picture().services.values().cloned().collect()
    }

    /// What changes from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Update> {
        self.feed.subscribe()
    }

    /// The events themselves from now on.
    pub(crate) fn subscribe_raw(&self) -> broadcast::Receiver<Arc<str>> {
        self.raw.subscribe()
    }

    /// Tells everyone who looks. Nobody looking is no error.
    pub(crate) fn tell(&self, update: Update) {
        let _ = self.feed.send(update);
    }

    /// Follows the supervisor for ever, through its absence and its re-execution.
    pub(crate) async fn follow(&self, control: &Control) {
        loop {
            let Err(trouble) = self.follow_once(control).await;
            {
                let mut picture = self.change();
                picture.hello = None;
                picture.trouble = Some(trouble);
            }
            self.tell(Update::Whole);
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    async fn follow_once(&self, control: &Control) -> Result<std::convert::Infallible, ErrorBody> {
        let (mut connection, hello) = control.connect().await?;
        connection.send(Op::Subscribe).await?;
        {
            let mut picture = self.change();
            picture.stopping = false;
            picture.hello = Some(hello);
            picture.trouble = None;
        }
        loop {
            let line = connection.next_line().await?;
            if let Ok(event) = decode::<Event>(&line) {
                let text: Arc<str> = String::from_utf8_lossy(&line).into();
                self.apply(event);
                let _ = self.raw.send(text);
            } else if let Ok(Reply {
                err: Some(error), ..
            }) = decode::<Reply>(&line)
            {
                return Err(error);
            }
        }
    }

    fn apply(&self, event: Event) {
        let update = {
            let mut picture = self.change();
            picture.apply(event.body)
        };
        if let Some(update) = update {
            self.tell(update);
        }
    }
}

impl Picture {
    fn apply(&mut self, event: EventBody) -> Option<Update> {
        match event {
            EventBody::Snapshot(snapshot) => {
                self.services = snapshot
                    .services
                    .into_iter()
                    .map(|s| (s.name.clone(), s))
                    .collect();
                Some(Update::Whole)
            }
            EventBody::Changed { service } => {
                self.count_exit(&service);
                let shared = Arc::new((*service).clone());
                self.services.insert(service.name.clone(), *service);
                Some(Update::Service(shared))
            }
            EventBody::Removed { name, .. } => {
                self.services.remove(&name);
                Some(Update::Removed(name))
            }
            EventBody::Booted => {
                if let Some(hello) = &mut self.hello {
                    hello.booted = true;
                }
                Some(Update::Whole)
            }
            EventBody::ShuttingDown => {
                self.stopping = true;
                Some(Update::Whole)
            }
            EventBody::Order { .. }
            | EventBody::ReconcileRequested { .. }
            | EventBody::Notice { .. } => None,
        }
    }

    fn count_exit(&mut self, new: &ServiceView) {
        let Some(exit) = &new.last_exit else { return };
        let known = self
            .services
            .get(&new.name)
            .and_then(|old| old.last_exit.as_ref());
        if known == Some(exit) {
            return;
        }
        let how = match (exit.code, exit.signal) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => format!("signal-{signal}"),
            (None, None) => return,
        };
        *self.exits.entry((new.name.clone(), how)).or_default() += 1;
    }
}
