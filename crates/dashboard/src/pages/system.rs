//! The machine under it: the supervisor, the home and its disk, what this container can do.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use herm_wire::{Body, BootReport, Op};
use maud::{Markup, html};

use super::Page;
use super::parts::prose;
use crate::app::App;
use crate::auth::Login;
use crate::doctor::{Finding, Findings, Level};
use crate::words::{bytes, micros};

/// Entries of a home that are counted; a larger one is said to be at least so large.
const MAX_ENTRIES: usize = 200_000;

/// What the disk says.
#[derive(Debug, Default, Clone, Copy)]
struct Disk {
    free: u64,
    total: u64,
    used_by_home: u64,
    is_all: bool,
}

/// `GET /system`.
pub(crate) async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let page = match Page::new(&app, &headers, "/system", "System") {
        Ok(page) => page,
        Err(problem) => return problem.answer(&headers, "/system"),
    };
    let report = match app.control.ask(Op::Boot).await {
        Ok(Body::Boot(report)) => report,
        _ => BootReport::default(),
    };
    let disk = {
        let _permit = app.readers.acquire().await;
        let root = app.options.home.root().to_path_buf();
        tokio::task::spawn_blocking(move || measure(&root))
            .await
            .unwrap_or_default()
    };
    let found = match &app.options.program {
        Some(program) => {
            let home = app.options.home.root();
            Some(app.doctor.findings(program, home).await)
        }
        None => None,
    };
    let content = html! {
        h1 { "System" }
        div.grid {
            (supervisor(&app))
            (home(&app, disk))
            (dashboard(&app))
        }
        @if let Some(found) = &found { (findings(found)) }
        (features(&report))
    };
    page.answer(&content)
}

/// Size of the home by its files' blocks, and what is left of its disk.
fn measure(root: &Path) -> Disk {
    use std::os::unix::fs::MetadataExt as _;
    let mut disk = Disk {
        is_all: true,
        ..Disk::default()
    };
    if let Ok(found) = rustix::fs::statvfs(root) {
        disk.free = found.f_bavail.saturating_mul(found.f_frsize);
        disk.total = found.f_blocks.saturating_mul(found.f_frsize);
    }
    let mut dirs = vec![root.to_path_buf()];
    let mut seen = 0;
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MAX_ENTRIES {
                disk.is_all = false;
                return disk;
            }
            // Of the entry itself: a link leads to what is counted elsewhere, or is not the home's.
            let Ok(meta) = entry.metadata() else { continue };
            disk.used_by_home += meta.blocks() * 512;
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    disk
}

fn supervisor(app: &App) -> Markup {
    let hello = app.live.picture().hello.clone();
    let latency = app.latency.last_us();
    html! {
        section.card {
            h2 { "Supervisor" }
            @if let Some(hello) = hello {
                dl.facts {
                    div { dt { "Version" } dd { (hello.version) } }
                    div { dt { "Protocol" } dd { (hello.protocol) } }
                    div { dt { "Process" } dd { (hello.pid) } }
                    div { dt { "Instance" } dd.mono { (hello.instance) } }
                    div { dt { "Keeper" } dd { @if hello.keeper { "attached" } @else { "not attached: profiles are not followed" } } }
                    div { dt { "Answers in" } dd { (micros(latency)) } }
                }
            } @else {
                p.hint { "It does not answer." }
            }
        }
    }
}

fn home(app: &App, disk: Disk) -> Markup {
    let used = disk.total.saturating_sub(disk.free);
    let share = used
        .saturating_mul(1000)
        .checked_div(disk.total)
        .unwrap_or(0);
    let class = if share > 900 { "sf" } else { "sb" };
    html! {
        section.card {
            h2 { "Home" }
            dl.facts {
                div { dt { "Directory" } dd.mono { (app.options.home.root().display()) } }
                div { dt { "Size" } dd { @if !disk.is_all { "at least " } (bytes(disk.used_by_home)) } }
                div { dt { "Disk" } dd { (bytes(disk.free)) " free of " (bytes(disk.total)) } }
            }
            svg.bar viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
                rect.none x="0" y="0" width="1000" height="12" {}
                rect class=(class) x="0" y="0" width=(share) height="12" {}
            }
        }
    }
}

fn dashboard(app: &App) -> Markup {
    let login = match &app.auth.login {
        Login::Open => "none: it listens on a loopback address",
        Login::Password { .. } => "name and password",
        Login::Token(_) => "generated token",
    };
    let open = crate::app::MAX_STREAMS.saturating_sub(app.streams.available_permits());
    html! {
        section.card {
            h2 { "Dashboard" }
            dl.facts {
                div { dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) } }
                div { dt { "Login" } dd { (login) } }
                div { dt { "Streams" } dd { (open) " of " (crate::app::MAX_STREAMS) } }
                div { dt { "For programs" } dd { a href="/api/v1" { "API" } ", " a href="/metrics" { "metrics" } } }
            }
        }
    }
}

/// What `herm doctor` says, what needs somebody first.
fn findings(found: &Findings) -> Markup {
    let all = match &**found {
        Ok(all) => all,
        Err(why) => {
            return html! {
                section.card {
                    h2 { "Findings" }
                    p.hint { code { "herm doctor" } " can't be asked: " (why) }
                }
            };
        }
    };
    let of = |level| -> Vec<&Finding> { all.iter().filter(|one| one.level == level).collect() };
    let (problems, mut notes) = (of(Level::Problem), of(Level::Note));
    // What this container can't do has a table of its own.
    notes.retain(|one| one.check != "features");
    let well = of(Level::Ok).len();
    html! {
        section.card {
            h2 { "Findings " span.hint { "what " code { "herm doctor" } " says" } }
            @if problems.is_empty() { p.well { b.p.sr { "well" } " Nothing needs you: " (well) " checks found nothing to complain of." } }
            ul.findings {
                @for one in &problems {
                    li {
                        b.p.sf { (one.check) } " " (prose(&one.found))
                        @if let Some(remedy) = &one.remedy { small { (prose(remedy)) } }
                    }
                }
                @for one in &notes { li { b.p.sd { (one.check) } " " (prose(&one.found)) } }
            }
        }
    }
}

fn features(report: &BootReport) -> Markup {
    html! {
        @if !report.features.is_empty() {
            section.card.wide {
                h2 { "What this container can do" }
                table.events {
                    thead { tr { th scope="col" { "Feature" } th scope="col" { "There" } th scope="col" { "What was found, or what is done without it" } } }
                    tbody { @for feature in &report.features {
                        tr {
                            th scope="row" { (feature.name) }
                            td { @if feature.available { b.p.sr { "yes" } } @else { b.p.sd { "no" } } }
                            td { (feature.detail) }
                        }
                    } }
                }
            }
        }
    }
}
