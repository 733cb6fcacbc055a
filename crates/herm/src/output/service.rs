//! A service in words: a row, a tree, a page, a sentence.

use std::time::{Duration, SystemTime};

use herm_wire::verdict::{label, verdict_with};
use herm_wire::{Desired, Kind, LastExit, ServiceView, State};

use super::words::{ago, cause, coming, human_duration};
use super::{Out, Table, Tone, plain, tone_of, word};
use crate::failure::Outcome;

/// A table of services.
pub(crate) fn services_table<'a>(services: impl IntoIterator<Item = &'a ServiceView>) -> Table {
    let mut table = Table::new(&["NAME", "STATE", "PID", "UP", "RESTARTS", "PORT", "REASON"]);
    for service in services {
        table.row(vec![
            (service.name.clone(), Tone::Plain),
            (word(service.state).to_owned(), tone_of(service.state)),
            (or_dash(service.pid), Tone::Plain),
            (uptime(service), Tone::Plain),
            (service.restarts.to_string(), Tone::Plain),
            (or_dash(service.port), Tone::Plain),
            (cause(&service.reason), Tone::Dim),
        ]);
    }
    table
}

/// The tree of `herm status`: kinds as branches, services as leaves, and below one that failed what
/// it said last.
pub(crate) fn services_tree(
    out: &mut Out,
    services: &[ServiceView],
    last_said: impl Fn(&ServiceView) -> Option<String>,
) -> Outcome {
    let branches = [
        (Kind::Main, "main program"),
        (Kind::Gateway, "gateways"),
        (Kind::Service, "services"),
        (Kind::Helper, "herm itself"),
    ];
    for (kind, title) in branches {
        let leaves: Vec<&ServiceView> = services.iter().filter(|s| s.kind == kind).collect();
        if leaves.is_empty() {
            continue;
        }
        let title = out.paint(title, Tone::Bold);
        out.line(title)?;
        let width = leaves
            .iter()
            .map(|s| label(s).chars().count())
            .max()
            .unwrap_or(0);
        for (index, service) in leaves.iter().enumerate() {
            let (twig, trunk) = if index + 1 == leaves.len() {
                ("└─", " ")
            } else {
                ("├─", "│")
            };
            let state = out.paint(
                &format!("{:<8}", word(service.state)),
                tone_of(service.state),
            );
            let text = format!(
                "{twig} {:<width$}  {state}  {}",
                label(service),
                facts(service)
            );
            out.line(text.trim_end())?;
            if let Some(said) = last_said(service) {
                let said = out.paint(&plain(&said), Tone::Dim);
                out.line(format!("{trunk}  {:<width$}  last said: {said}", ""))?;
            }
        }
    }
    Ok(())
}

/// The rest of a leaf: what matters about a service in this state.
fn facts(service: &ServiceView) -> String {
    let mut facts = Vec::new();
    if let Some(pid) = service.pid {
        facts.push(format!("pid {pid}"));
        facts.push(format!("up {}", uptime(service)));
    }
    if let Some(port) = service.port {
        facts.push(format!("port {port}"));
    }
    if service.restarts > 0 {
        facts.push(format!("restarted {}", times(service.restarts)));
    }
    if let Some(health) = service
        .health
        .as_ref()
        .filter(|health| *health != "healthy")
    {
        facts.push(health.clone());
    }
    let settled = matches!(service.state, State::Running) || service.reason.is_empty();
    if !settled {
        facts.push(cause(&service.reason));
    }
    facts.extend(when(service, SystemTime::now()));
    if let Some(next) = &service.next {
        facts.push(coming(next, SystemTime::now()));
    }
    facts.join(" · ")
}

/// Everything about one service, a fact per line.
pub(crate) fn describe(out: &mut Out, service: &ServiceView, now: SystemTime) -> Outcome {
    let state = out.paint(word(service.state), tone_of(service.state));
    let desired = match service.desired {
        Desired::Up => "up",
        Desired::Down => "down",
    };
    let last_exit = service
        .last_exit
        .as_ref()
        .map(|exit| last_exit_words(exit, now));
    let facts = [
        ("Service", Some(service.name.clone())),
        ("Profile", service.profile.clone()),
        (
            "State",
            Some(format!("{state} for {}", span_since(&service.since, now))),
        ),
        (
            "Reason",
            Some(cause(&service.reason)).filter(|reason| !reason.is_empty()),
        ),
        ("Next", service.next.as_ref().map(|next| coming(next, now))),
        ("Desired", Some(desired.to_owned())),
        ("Manager", Some("herm (container supervisor)".to_owned())),
        (
            "Process",
            service
                .pid
                .map(|pid| format!("pid {pid}, up {}", uptime(service))),
        ),
        ("Port", service.port.map(|port| port.to_string())),
        ("Health", service.health.clone()),
        ("Restarts", Some(service.restarts.to_string())),
        ("Last exit", last_exit),
        ("Served by", service.served_by.clone()),
        ("Owner", service.owner.clone()),
        ("Logs", service.log_dir.clone()),
    ];
    for (title, value) in facts {
        if let Some(value) = value {
            out.line(format!("{:<10} {value}", format!("{title}:")))?;
        }
    }
    Ok(())
}

/// The verdict on all services, with how long ago it was for what has ended for good.
pub(crate) fn verdict_now(services: &[ServiceView], now: SystemTime) -> String {
    verdict_with(services, |service| when(service, now))
}

/// How long ago it came to an end by itself, where it did.
fn when(service: &ServiceView, now: SystemTime) -> Option<String> {
    let ended = matches!(service.state, State::Parked | State::Failed);
    ended.then(|| ago(&service.since, now))
}

/// `herm why`: one sentence with the state, the cause, and what comes next.
pub(crate) fn explain(service: &ServiceView, now: SystemTime) -> String {
    let name = label(service);
    let state = match service.state {
        State::Backoff => format!("{name} is in backoff"),
        state => format!("{name} is {}", word(state)),
    };
    match service.state {
        State::Running => return explain_running(service, now),
        State::Served => {
            let by = service.served_by.as_deref().unwrap_or("another profile");
            return format!("{state} by the gateway of {by}.");
        }
        _ => {}
    }
    let cause = match service.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", cause(reason)),
    };
    let exit = service.last_exit.as_ref().map_or_else(String::new, |exit| {
        // The reason mostly is the exit; then only its time is news.
        let said = exit
            .code
            .is_some_and(|code| service.reason.contains(&format!("exit {code}")));
        let words = if said {
            last_exit_time(exit, now)
        } else {
            last_exit_words(exit, now)
        };
        format!(" ({words})")
    });
    let next = next_step(service, now).map_or_else(String::new, |next| format!("; {next}"));
    format!("{state}{cause}{exit}{next}.")
}

fn explain_running(service: &ServiceView, now: SystemTime) -> String {
    let span = span_since(&service.since, now);
    let how = match service.reason.as_str() {
        "" => String::new(),
        "ready" => " and is ready".to_owned(),
        reason => format!(": {}", cause(reason)),
    };
    let next = service.next.as_ref();
    let next = next.map_or_else(String::new, |next| format!("; {}", coming(next, now)));
    format!("{} has been running for {span}{how}{next}.", label(service))
}

/// What happens next, in the supervisor's words or, where it has none, what a person can do.
fn next_step(service: &ServiceView, now: SystemTime) -> Option<String> {
    if let Some(next) = &service.next {
        return Some(coming(next, now));
    }
    let start = match &service.profile {
        Some(profile) if profile == "default" => "herm gateway start".to_owned(),
        Some(profile) => format!("herm -p {profile} gateway start"),
        None => format!("herm service start {}", service.name),
    };
    match service.state {
        State::Down if service.desired == Desired::Down => {
            Some(format!("it stays so until `{start}`"))
        }
        State::Parked => Some(format!(
            "it starts when its configuration or environment files change, or on `{start}`"
        )),
        State::Failed => Some(format!("nothing happens by itself; `{start}` tries again")),
        State::Stopping => Some("it is down when its last process is gone".to_owned()),
        State::Starting => Some("it runs as soon as it says that it is ready".to_owned()),
        _ => None,
    }
}

fn last_exit_words(exit: &LastExit, now: SystemTime) -> String {
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        // It was never executed.
        (None, None) => return format!("tried {}", ago(&exit.at, now)),
    };
    format!("{how} {}", last_exit_time(exit, now))
}

fn last_exit_time(exit: &LastExit, now: SystemTime) -> String {
    let ran = Duration::try_from_secs_f64(exit.after_s).unwrap_or_default();
    format!("{} after {}", ago(&exit.at, now), human_duration(ran))
}

fn span_since(at: &str, now: SystemTime) -> String {
    let text = ago(at, now);
    text.strip_suffix(" ago")
        .map_or(text.clone(), str::to_owned)
}

/// How long it has been up, or a dash.
pub(crate) fn uptime(service: &ServiceView) -> String {
    if service.pid.is_none() {
        return "-".to_owned();
    }
    human_duration(Duration::try_from_secs_f64(service.uptime_s).unwrap_or_default())
}

fn times(count: u64) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        herm_home::clock::parse("2026-11-20T20:31:10Z").unwrap()
    }

    fn parked() -> ServiceView {
        serde_json::from_value(serde_json::json!({
            "name": "gateway-writer", "profile": "writer", "kind": "gateway", "desired": "up",
            "state": "parked", "reason": "exit 78, bad configuration",
            "since": "2026-11-20T20:30:10Z", "uptime_s": 0.0, "restarts": 0, "ready": false,
            "last_exit": {"code": 78, "at": "2026-11-20T20:30:10Z", "after_s": 0.4},
        }))
        .unwrap()
    }

    #[test]
    fn why_names_the_state_the_cause_and_the_next_step() {
        assert_eq!(
            explain(&parked(), now()),
            "writer is parked: exit 78, bad configuration (60 s ago after 400 ms); it \
             starts when its configuration or environment files change, or on `herm -p writer \
             gateway start`."
        );
    }

    #[test]
    fn the_verdict_says_how_long_ago_it_was() {
        assert_eq!(
            verdict_now(&[parked()], now() + Duration::from_secs(60)),
            "0 of 1 gateway running; writer parked 2 min ago: exit 78, bad configuration"
        );
    }

    #[test]
    fn why_of_a_running_service_is_a_sentence() {
        let mut service = parked();
        service.state = State::Running;
        service.reason = "ready".into();
        assert_eq!(
            explain(&service, now()),
            "writer has been running for 60 s and is ready."
        );
    }

    #[test]
    fn why_of_a_stopped_service_says_how_to_start_it() {
        let mut service = parked();
        service.state = State::Down;
        service.desired = Desired::Down;
        service.reason = "stopped by uid 10000".into();
        service.last_exit = None;
        assert_eq!(
            explain(&service, now()),
            "writer is down: stopped by uid 10000; it stays so until `herm -p writer gateway start`."
        );
    }

    #[test]
    fn l09_a_served_profile_is_told_as_served() {
        let mut service = parked();
        service.state = State::Served;
        service.served_by = Some("default".into());
        service.reason = String::new();
        service.last_exit = None;
        assert_eq!(
            explain(&service, now()),
            "writer is served by the gateway of default."
        );
    }

    #[test]
    fn the_supervisors_own_words_on_what_comes_next_win() {
        let mut service = parked();
        service.state = State::Backoff;
        service.next = Some("starts again in 4 s".into());
        assert!(explain(&service, now()).ends_with("; starts again in 4 s."));
    }
}
