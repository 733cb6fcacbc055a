//! A control group for each run, where the kernel lets us have some.
//!
//! A child makes its group itself, before anything else it does, and so PID 1 never waits for the
//! kernel's locks there; what became of it arrives with the exec. From then on the group is the
//! run's known set: nobody leaves it without root's help, so neither sessions nor cookies are
//! looked at. The main program stays in the container's own group, where `docker exec` puts
//! whatever it starts.

use herm_sys::cgroup::{Cgroup, CgroupRoot, Emptiness, Place};
use herm_sys::process;
use herm_sys::signals::Signal;
use herm_wire::ServiceView;

use super::known_set::signal_member;
use super::reactor::{Interest, Reactor, Source};
use super::supervisor::Supervisor;

/// Our own group and what we have in it.
#[derive(Debug)]
pub(crate) struct Cgroups {
    root: CgroupRoot,
    emptiness: Emptiness,
    /// Groups of runs that are over and could not be removed yet.
    left: Vec<String>,
}

impl Cgroups {
    /// `None` where groups can't be made, or are another manager's to make: as a container's PID 1
    /// we are the manager, elsewhere systemd says whether.
    pub(crate) fn detect(reactor: &Reactor) -> Option<Self> {
        let root = CgroupRoot::detect()?;
        if !process::is_pid1() && !root.is_delegated() {
            return None;
        }
        let emptiness = Emptiness::new().ok()?;
        reactor
            .add(&emptiness, Source::Cgroups, Interest::Read)
            .ok()?;
        Some(Self {
            root,
            emptiness,
            left: Vec::new(),
        })
    }

    /// Where groups are made, for people.
    pub(crate) fn path(&self) -> String {
        self.root.path().display().to_string()
    }

    /// Removes a group, and those that could not be removed before: a group may be busy for a
    /// moment after its last process was reaped.
    fn remove(&mut self, name: String) {
        self.left.push(name);
        let root = &self.root;
        self.left.retain(|name| {
            let removed = root.remove(name);
            !matches!(removed, Ok(()) | Err(herm_sys::Errno::NOENT))
        });
    }
}

impl Supervisor {
    fn group_name(&self, run: u64) -> String {
        format!("herm-{}-{run}", self.instance)
    }

    /// Where the process of a run is to make its group.
    pub(crate) fn place_of(&self, run: u64) -> Option<Place> {
        let cgroups = self.cgroups.as_ref()?;
        cgroups.root.place(&self.group_name(run)).ok()
    }

    /// The group of a run that has one.
    pub(crate) fn group_of(&self, run: u64) -> Option<Cgroup> {
        let cgroups = self.cgroups.as_ref()?;
        self.runs.get(&run).filter(|run| run.record.grouped)?;
        cgroups.root.open(&self.group_name(run)).ok()
    }

    /// Finds out whether a run has a group of whose start nobody has heard: it came through
    /// re-execution, or was dead before its exec was told.
    pub(crate) fn adopt_group(&mut self, run: u64) {
        let name = self.group_name(run);
        let Some(cgroups) = &self.cgroups else {
            return;
        };
        let group = cgroups.root.open(&name);
        let grouped = group.is_ok_and(|group| !group.is_empty().unwrap_or(true));
        if let Some(run) = self.runs.get_mut(&run) {
            run.record.grouped |= grouped;
        }
    }

    /// A run is over.
    pub(crate) fn remove_group(&mut self, run: u64) {
        let name = self.group_name(run);
        if let Some(cgroups) = &mut self.cgroups {
            cgroups.remove(name);
        }
    }

    /// Whether nobody is in the group any more; if somebody is, we hear when that changes.
    pub(crate) fn is_group_empty(&self, run: u64, group: &Cgroup) -> bool {
        // What can't be read is gone.
        let is_empty = || group.is_empty().unwrap_or(true);
        if is_empty() {
            return true;
        }
        if let Some(cgroups) = &self.cgroups {
            // Without a watch it is looked at whenever a child dies, and killed again now and then.
            let _ = cgroups
                .emptiness
                .watch(&cgroups.root, &self.group_name(run));
        }
        // It may have become so before it was watched.
        is_empty()
    }

    /// Some group has become empty.
    pub(crate) fn group_emptied(&mut self) {
        if let Some(cgroups) = &self.cgroups {
            cgroups.emptiness.clear();
        }
        self.recount = true;
    }

    /// Signals everyone in a run's group.
    pub(crate) fn signal_group(&mut self, service: &str, group: &Cgroup, signal: Signal) {
        if signal == Signal::KILL {
            if let Err(error) = group.kill() {
                self.output.warn(&format!(
                    "{service}: cannot kill its control group: {error}"
                ));
            }
            return;
        }
        for pid in group.members().unwrap_or_default() {
            let Ok(stat) = process::stat(pid) else {
                continue;
            };
            if let Err(error) = signal_member(stat.identity(), None, signal) {
                let pid = pid.as_raw_pid();
                self.output
                    .warn(&format!("{service}: cannot signal {pid}: {error}"));
            }
        }
    }

    /// Adds what the run's group has used, where there is one.
    pub(crate) fn measure(&self, view: &mut ServiceView) {
        let Some(run) = view.pid.and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        let run = self.mains.get(&run).copied();
        let Some(group) = run.and_then(|run| self.group_of(run)) else {
            return;
        };
        view.memory_bytes = group.memory_bytes();
        view.cpu_percent = group.cpu_us().and_then(|us| share(us, view.uptime_s));
    }
}

/// Processor time as the share of one core in percent, to a tenth.
fn share(used_us: u64, span_s: f64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^52 microseconds are 142 years of processor time"
    )]
    let percent = used_us as f64 / 10_000.0 / span_s;
    (span_s > 0.0).then(|| (percent * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_one_core_since_the_start() {
        assert_eq!(share(500_000, 2.0), Some(25.0));
        assert_eq!(share(3_000_000, 1.0), Some(300.0));
        assert_eq!(share(1, 0.0), None);
    }
}
