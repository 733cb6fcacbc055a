//! Memory and processor time of each service, measured here from proc(5): PID 1 measures nothing.
//!
//! A run's main process leads a session of its own, so the processes of that session are counted
//! with it. One pass over `/proc` serves all services.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use herm_wire::ServiceView;

/// Between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Samples kept of each service: five minutes.
pub(crate) const KEPT: usize = 60;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Resident memory in bytes.
    pub(crate) memory: u64,
    /// Share of one processor in percent since the sample before.
    pub(crate) cpu: f64,
    /// Open descriptors of the main process, where they may be counted.
    pub(crate) descriptors: Option<u64>,
}

/// What one pass over `/proc` found of a session.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Usage {
    pages: u64,
    ticks: u64,
}

#[derive(Debug, Default)]
struct Series {
    pid: u32,
    ticks: u64,
    kept: VecDeque<Sample>,
}

/// The samples of all services.
#[derive(Debug, Default)]
pub struct Samples {
    series: RwLock<BTreeMap<String, Series>>,
    last: RwLock<Option<Instant>>,
}

impl Samples {
    /// The newest sample of a service.
    pub(crate) fn newest(&self, name: &str) -> Option<Sample> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        series.get(name).and_then(|one| one.kept.back().copied())
    }

    /// The samples of a service, oldest first.
    pub(crate) fn of(&self, name: &str) -> Vec<Sample> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        series
            .get(name)
            .map(|one| one.kept.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Fills in what was measured.
    pub fn complete(&self, service: &mut ServiceView) {
        if let Some(sample) = self.newest(&service.name) {
            service.memory_bytes = Some(sample.memory);
            service.cpu_percent = Some(sample.cpu);
        }
    }

    /// Measures all that run; forgets those that don't.
    pub fn take(&self, services: &[ServiceView], proc: &Path) {
        let now = Instant::now();
        let elapsed = {
            let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
            last.replace(now)
                .map(|then| now.duration_since(then).as_secs_f64())
        };
        let usage = sessions(proc);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.retain(|name, _| services.iter().any(|s| s.name == *name && s.pid.is_some()));
        for service in services {
            let Some(pid) = service.pid else { continue };
            let Some(used) = usage.get(&pid) else {
                continue;
            };
            let one = series.entry(service.name.clone()).or_default();
            let fresh = one.pid != pid;
            if fresh {
                *one = Series {
                    pid,
                    ticks: used.ticks,
                    kept: VecDeque::new(),
                };
            }
            let cpu = elapsed
                .filter(|_| !fresh)
                .map_or(0.0, |span| share(used.ticks, one.ticks, span));
            one.ticks = used.ticks;
            if one.kept.len() == KEPT {
                one.kept.pop_front();
            }
            one.kept.push_back(Sample {
                memory: used.pages.saturating_mul(page_bytes()),
                cpu,
                descriptors: descriptors(proc, pid),
            });
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ticks of seconds are far below 2^53"
)]
fn share(now: u64, before: u64, span: f64) -> f64 {
    let ticks = now.saturating_sub(before) as f64;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    if span <= 0.0 || per_second <= 0.0 {
        return 0.0;
    }
    (ticks / per_second / span * 1000.0).round() / 10.0
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Pages and ticks of every session.
fn sessions(proc: &Path) -> BTreeMap<u32, Usage> {
    let mut sessions: BTreeMap<u32, Usage> = BTreeMap::new();
    let Ok(entries) = fs::read_dir(proc) else {
        return sessions;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name
            .as_encoded_bytes()
            .first()
            .is_some_and(u8::is_ascii_digit)
        {
            continue;
        }
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some((session, usage)) = parse(&stat) {
            let sum = sessions.entry(session).or_default();
            sum.pages = sum.pages.saturating_add(usage.pages);
            sum.ticks = sum.ticks.saturating_add(usage.ticks);
        }
    }
    sessions
}

/// Session, resident pages and processor ticks of a line of `/proc/<pid>/stat` (proc(5): fields 6,
/// 24, 14 and 15). The command, field 2, may contain anything, so fields are counted from the last
/// parenthesis.
fn parse(stat: &str) -> Option<(u32, Usage)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let session = u32::try_from(number(6)?).ok()?;
    let ticks = number(14)?.saturating_add(number(15)?);
    Some((
        session,
        Usage {
            pages: number(24)?,
            ticks,
        },
    ))
}

/// Another user's descriptors can't be looked at.
fn descriptors(proc: &Path, pid: u32) -> Option<u64> {
    let entries = fs::read_dir(proc.join(format!("{pid}/fd"))).ok()?;
    u64::try_from(entries.count()).ok()
}

/// The new samples as one event: name to memory, processor share, and how many samples of this run are
/// kept, so that whoever draws them knows whether it has them all.
pub(crate) fn event(samples: &Samples, services: &[ServiceView]) -> String {
    let values: BTreeMap<&str, (u64, f64, usize)> = services
        .iter()
        .filter_map(|service| {
            let kept = samples.of(&service.name);
            let newest = kept.last()?;
            let value = (newest.memory, newest.cpu, kept.len());
            Some((service.name.as_str(), value))
        })
        .collect();
    serde_json::to_string(&values).unwrap_or_else(|_| "{}".into())
}

#[cfg(test)]
mod tests {
    use herm_wire::{Kind, ServiceView};

    use super::*;

    fn proc_with(processes: &[(u32, u32, u64, u64)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (pid, session, ticks, pages) in processes {
            let of = dir.path().join(pid.to_string());
            fs::create_dir_all(of.join("fd")).unwrap();
            let stat = format!(
                "{pid} (a ) b) S 1 {session} {session} 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 5 1000 {pages} 0 0"
            );
            fs::write(of.join("stat"), stat).unwrap();
        }
        dir
    }

    fn running(name: &str, pid: u32) -> ServiceView {
        let mut view = ServiceView::named(name, Kind::Gateway);
        view.pid = Some(pid);
        view
    }

    #[test]
    fn the_processes_of_a_run_are_counted_together() {
        let proc = proc_with(&[(10, 10, 5, 100), (11, 10, 5, 50), (12, 12, 7, 1)]);
        let samples = Samples::default();
        samples.take(&[running("a", 10), running("gone", 99)], proc.path());
        let sample = samples.newest("a").unwrap();
        assert_eq!(sample.memory, 150 * page_bytes());
        assert_eq!((sample.cpu, sample.descriptors), (0.0, Some(0)));
        assert_eq!(samples.newest("gone"), None);
    }

    #[test]
    fn a_new_run_begins_a_new_series() {
        let proc = proc_with(&[(10, 10, 5, 1), (20, 20, 900, 2)]);
        let samples = Samples::default();
        samples.take(&[running("a", 10)], proc.path());
        samples.take(&[running("a", 20)], proc.path());
        let kept = samples.of("a");
        assert_eq!(kept.len(), 1);
        assert!(
            kept[0].cpu < f64::EPSILON,
            "what it used before is no use of this span"
        );
    }

    #[test]
    fn this_process_can_be_measured() {
        let usage = sessions(Path::new("/proc"));
        assert!(usage.values().any(|usage| usage.pages > 0));
    }
}
