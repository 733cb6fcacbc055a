//! What all answers share.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use herm_wire::ServiceView;
use tokio::sync::{Semaphore, broadcast};

use crate::auth::Auth;
use crate::auth::bearer::Bearers;
use crate::auth::session::Sessions;
use crate::auth::token::{hex, random};
use crate::control::Control;
use crate::doctor::Doctor;
use crate::homeview::HomeCache;
use crate::live::{Live, Update};
use crate::logs::feed::Feeds;
use crate::metrics::latency::Latency;
use crate::options::{Options, StartError};
use crate::remote;
use crate::sample::{self, Samples};
use crate::stream::Prepared;

/// Streams open at once, of pages and programs together.
pub(crate) const MAX_STREAMS: usize = 1500;
/// Changes kept for a page that is slower than they come.
const PREPARED: usize = 512;
/// Logs read at once: each may look through hundreds of megabytes.
const MAX_READERS: usize = 4;

/// The dashboard.
#[derive(Debug)]
pub(crate) struct App {
    /// What it was started with.
    pub(crate) options: Options,
    /// Who is let in.
    pub(crate) auth: Auth,
    /// The supervisor.
    pub(crate) control: Control,
    /// What is so.
    pub(crate) live: Live,
    /// What was measured.
    pub(crate) samples: Samples,
    /// The home.
    pub(crate) home: HomeCache,
    /// What is wrong.
    pub(crate) doctor: Doctor,
    /// Logs that are watched.
    pub(crate) feeds: Arc<Feeds>,
    /// Changes made ready for the pages.
    pub(crate) prepared: broadcast::Sender<Prepared>,
    /// Room for streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Room for readers of logs.
    pub(crate) readers: Semaphore,
    /// Room for verbs on what other instances run.
    pub(crate) handovers: Semaphore,
    /// Another one after every start, so that pages know that theirs is of an earlier.
    pub(crate) run: String,
    /// How long PID 1 takes to answer.
    pub(crate) latency: Latency,
}

impl App {
    pub(crate) fn new(options: Options, port: u16) -> Result<Self, StartError> {
        let sessions = Sessions::new(port).map_err(StartError::failed)?;
        let auth = Auth::new(options.login()?, sessions, Bearers::new(&options.home));
        Ok(Self {
            auth,
            control: Control::new(options.sockets.clone(), options.home.root()),
            live: Live::new(),
            samples: Samples::default(),
            home: HomeCache::new(&options.home),
            doctor: Doctor::default(),
            feeds: Arc::default(),
            prepared: broadcast::Sender::new(PREPARED),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            readers: Semaphore::new(MAX_READERS),
            handovers: Semaphore::new(remote::AT_ONCE),
            run: hex(&random::<8>().map_err(StartError::failed)?),
            latency: Latency::default(),
            options,
        })
    }

    /// Measures for ever.
    pub(crate) async fn measure(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(sample::INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shown = self.home.view().await;
        loop {
            ticks.tick().await;
            self.measure_latency().await;
            if self.prepared.receiver_count() > 0 {
                // What another instance, a tool or a hand changed in the home nobody tells.
                let now = self.home.view().await;
                if now.profiles != shown.profiles {
                    self.live.tell(Update::Whole);
                }
                shown = now;
            }
            let app = self.clone();
            let services = self.live.services();
            let measured = tokio::task::spawn_blocking(move || {
                app.samples.take(&services, Path::new("/proc"));
                (app.prepared.receiver_count() > 0).then(|| sample::event(&app.samples, &services))
            });
            if let Ok(Some(text)) = measured.await {
                self.live.tell(Update::Samples(text.into()));
            }
        }
    }

    async fn measure_latency(&self) {
        let asked = Instant::now();
        // To connect is to say hello and to be answered.
        if self.control.connect().await.is_ok() {
            self.latency.took(asked.elapsed());
        }
    }

    /// Every service with what was measured of it.
    pub(crate) fn services(&self) -> Vec<ServiceView> {
        let mut services = self.live.services();
        for service in &mut services {
            self.samples.complete(service);
        }
        services
    }
}
