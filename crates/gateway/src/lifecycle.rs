//! From the command to the exit code: start, serve, drain, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Config, ConfigError, Environment};
use crate::gate::Gate;
use crate::notify::Notifier;
use crate::ownership::{Owned, Ownership};
use crate::server::{self, App};
use crate::state::{Phase, Reporter};
use crate::{EXIT_CONFIG, EXIT_FAILED, EXIT_OK, Options, log};

/// The state file follows the number of requests in flight at most this often.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);
/// For what is left of connections after the last request has been answered.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Why the gateway could not begin.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Owned(#[from] Owned),
    #[error("the profile's directory {0} does not exist; create the profile first")]
    NoProfile(String),
    #[error(
        "API_SERVER_HOST: {0}: without API_SERVER_KEY only a loopback address is served; set a \
         key of at least 16 characters in {1}"
    )]
    Open(SocketAddr, String),
    #[error("API_SERVER_HOST: {0:?} can't be resolved: {1}")]
    Resolve(String, io::Error),
    #[error("API_SERVER_PORT: can't listen on {0}: {1}; choose another port or host")]
    Listen(String, io::Error),
    #[error("the system refuses what the gateway needs: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::NoProfile(_)
            | Self::Open(..)
            | Self::Resolve(..)
            | Self::Listen(..) => EXIT_CONFIG,
            // Whoever holds it may end without any file changing: a frozen container, for one.
            Self::Owned(_) | Self::System(_) => EXIT_FAILED,
        }
    }
}

/// See [`crate::run`].
pub(crate) fn run(options: &Options) -> u8 {
    if !options.profile.dir().is_dir() {
        let error = StartError::NoProfile(options.profile.dir().display().to_string());
        log::error(&error);
        return error.exit_code();
    }
    // Before anything else is written: the files may be those of a gateway that runs.
    let ownership = match Ownership::take(&options.profile) {
        Ok(ownership) => ownership,
        Err(error) => {
            let error = StartError::from(error);
            log::error(&error);
            return error.exit_code();
        }
    };
    let reporter = Reporter::new(&options.profile);
    reporter.record(Phase::Starting, None, 0);
    match start_and_serve(options, &reporter, &ownership) {
        Ok(()) => {
            reporter.record(Phase::Stopped, None, 0);
            log::info("stopped");
            EXIT_OK
        }
        Err(error) => {
            log::error(&error);
            reporter.record(Phase::StartupFailed, Some(&error.to_string()), 0);
            error.exit_code()
        }
    }
}

fn start_and_serve(
    options: &Options,
    reporter: &Reporter,
    ownership: &Ownership,
) -> Result<(), StartError> {
    let inherited = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let env = Environment::load(&options.profile, inherited)?;
    let config = Config::load(&options.profile, options.port, &env)?;
    let notifier = Notifier::new(
        std::env::var_os("NOTIFY_SOCKET"),
        notify_descriptor(options),
    );
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    let served = runtime.block_on(serve(
        config,
        options.drain_limit,
        reporter,
        ownership,
        &notifier,
    ));
    // What outlived the drain is cut here, and not waited for.
    runtime.shutdown_background();
    served
}

fn notify_descriptor(options: &Options) -> Option<u32> {
    let from_environment = || std::env::var("HERM_NOTIFY_FD").ok()?.parse().ok();
    options.notify_fd.or_else(from_environment)
}

async fn serve(
    config: Config,
    drain_limit: Duration,
    reporter: &Reporter,
    ownership: &Ownership,
    notifier: &Notifier,
) -> Result<(), StartError> {
    let mut stop = StopSignals::install()?;
    let listener = listen(&config).await?;
    let address = listener.local_addr()?;
    let gate = Gate::new();
    let app = App::new(config, gate.clone()).map_err(io::Error::other)?;
    report_configuration(&app.config);
    let (close, closed) = oneshot::channel();
    let mut connections = tokio::spawn(server::accept(listener, Arc::new(app), closed));

    reporter.record(Phase::Running, None, 0);
    log::info(format_args!("listening on {address}"));
    notifier.ready();
    follow(&gate, reporter, &mut stop).await;

    gate.close();
    notifier.stopping();
    ownership.consume_planned_stop();
    reporter.record(Phase::Draining, None, gate.active());
    log::info(format_args!("stopping, {} in flight", gate.active()));
    tokio::select! {
        () = gate.emptied() => {}
        () = tokio::time::sleep(drain_limit) => log::warn(format_args!(
            "{} in flight were cut after {} s", gate.active(), drain_limit.as_secs()
        )),
        // Not by a second TERM: a supervisor sends one to the whole group before it kills.
        _ = stop.interrupt.recv() => log::warn(format_args!(
            "{} in flight were cut by an interrupt", gate.active()
        )),
    }
    let _ = close.send(());
    let _ = timeout(CLOSE_LIMIT, &mut connections).await;
    Ok(())
}

/// Keeps the state file's `active_agents` up to date until a stop is asked for.
async fn follow(gate: &Gate, reporter: &Reporter, stop: &mut StopSignals) {
    let mut recorded = 0;
    let mut next_record = Instant::now();
    loop {
        let active = gate.active();
        tokio::select! {
            () = stop.received() => return,
            () = sleep_until(next_record), if active != recorded => {
                let reporter = reporter.clone();
                let record = move || reporter.record(Phase::Running, None, active);
                let _ = tokio::task::spawn_blocking(record).await;
                recorded = active;
                next_record = Instant::now() + RECORD_INTERVAL;
            }
            () = gate.active_changed(active) => {}
        }
    }
}

async fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let target = (config.host.as_str(), config.port);
    let resolve_error = |error| StartError::Resolve(config.host.clone(), error);
    let addresses: Vec<_> = tokio::net::lookup_host(target)
        .await
        .map_err(resolve_error)?
        .collect();
    let open = addresses.iter().find(|a| !a.ip().is_loopback());
    if let (None, Some(address)) = (&config.key, open) {
        let file = config.profile.dotenv().display().to_string();
        return Err(StartError::Open(*address, file));
    }
    TcpListener::bind(addresses.as_slice())
        .await
        .map_err(|error| StartError::Listen(format!("{}:{}", config.host, config.port), error))
}

fn report_configuration(config: &Config) {
    if config.key.is_none() {
        log::warn(format_args!(
            "API_SERVER_KEY is not set in {}: only /health is served",
            config.profile.dotenv().display()
        ));
    }
    match &config.provider {
        Some(provider) => log::info(format_args!(
            "profile {} relays to {} as {}",
            config.profile.name(),
            provider.endpoint.host_str().unwrap_or_default(),
            provider.model
        )),
        None => log::warn(format_args!(
            "no provider is configured in {}: completions are refused",
            config.profile.config().display()
        )),
    }
}

/// The signals that ask for a stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
