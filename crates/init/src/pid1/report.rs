//! What this container lets herm do, told at boot and over the control socket (contract section 10).
//!
//! Each feature has a name and either what was found or what herm does without it.

use std::path::Path;
use std::time::Duration;

use herm_engine::ServiceId;
use herm_sys::capabilities::{DirectoryUse, Report, directory_use};
use herm_sys::process;
use herm_wire::Feature;
use rustix::fs::{FsWord, statfs};

use super::supervisor::Supervisor;

/// `TMPFS_MAGIC`, statfs(2).
const TMPFS: FsWord = 0x0102_1994;

/// Directories outside the home that herm or its setup write to.
const WRITTEN: [&str; 4] = ["/run", "/etc", "/tmp", "/dev/shm"];

/// Those of them that can't be written to.
fn refused_directories() -> String {
    let is_refused = |dir: &&str| {
        let found = directory_use(Path::new(dir));
        matches!(found, DirectoryUse::ReadOnly | DirectoryUse::Missing)
    };
    let refused: Vec<&str> = WRITTEN.into_iter().filter(is_refused).collect();
    refused.join(" ")
}

/// Warnings kept for who asks; all of them are told.
const WARNINGS_MAX: usize = 100;

impl Supervisor {
    /// Finds out, keeps it for who asks, and tells what is missing.
    pub(crate) fn report_features(&mut self) {
        let found = Report::collect();
        let mut add = |name: &str, available: bool, detail: String| {
            let name = name.to_owned();
            self.boot.report.features.push(Feature {
                name,
                available,
                detail,
            });
        };
        let without =
            |has: bool, with: String, without: &str| if has { with } else { without.into() };
        let [_, uid, _] = found.ids.uids;
        let changes_users = found.can_change_users();
        add("root", uid == 0, format!("uid {uid}"));
        add(
            "pid1",
            process::is_pid1(),
            format!("pid {}", found.pid.as_raw_pid()),
        );
        let names = found.capability_names().join(" ");
        let has = found.effective != 0;
        let detail = without(has, names, "what only root may do is left out");
        add("capabilities", has, detail);
        let text = "every service runs as this user: none is kept from another's files";
        let detail = without(
            changes_users,
            "services run as their own users".to_owned(),
            text,
        );
        add("other-users", changes_users, detail);
        let detail = if found.no_new_privs {
            "nothing can gain privileges, by sudo or a file's capabilities either"
        } else {
            "programs may gain privileges, but for what other users have registered"
        };
        add("no-new-privileges", found.no_new_privs, detail.to_owned());
        let group = self.cgroups.as_ref().map(super::cgroups::Cgroups::path);
        let detail = without(
            group.is_some(),
            format!(
                "each run has a group of its own in {}",
                group.unwrap_or_default()
            ),
            "services are followed by session, descent and cookie, and what they use is not measured",
        );
        add("cgroups", self.cgroups.is_some(), detail);
        let capacity = Self::capacity();
        let limit = found.open_files.soft;
        let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let detail = format!("{limit} descriptors, enough for {capacity} services");
        add("capacity", capacity > 0, detail);
        let dir = &self.boot.runtime_dir;
        let in_memory = statfs(dir).is_ok_and(|fs| fs.f_type == TMPFS);
        let detail = without(
            in_memory,
            format!("{} is on a tmpfs", dir.display()),
            "it is on a disk: starts cost more; give the container --tmpfs /run",
        );
        add("state-in-memory", in_memory, detail);
        let refused = refused_directories();
        let all = refused.is_empty();
        let detail = format!("can't write to {refused}; what belongs there is left out");
        add(
            "writable",
            all,
            without(!all, detail, "all herm writes to outside the home"),
        );
        self.tell_features();
    }

    /// One line for what is there, and one for each thing that is not.
    fn tell_features(&mut self) {
        let features = std::mem::take(&mut self.boot.report.features);
        let mut there = String::from("here:");
        for feature in features.iter().filter(|feature| feature.available) {
            there.push(' ');
            there.push_str(&feature.name);
        }
        self.output.info(&there);
        // Being able to gain privileges is nothing to be missed.
        let missed = |feature: &&Feature| !feature.available && feature.name != "no-new-privileges";
        for feature in features.iter().filter(missed) {
            self.output
                .info(&format!("not here: {}: {}", feature.name, feature.detail));
        }
        self.boot.report.features = features;
    }

    /// Graces that can't fit the budget are told when they are known, not found out at the stop.
    pub(crate) fn warn_of_short_budget(&mut self) {
        for short in self.engine.stop_budget(self.settings.stop_budget) {
            self.warn_of_short_grace(short.id, short.grace, short.granted);
        }
    }

    /// The same for a service that was registered just now. Only where it depends on others all have to
    /// be looked at.
    pub(crate) fn warn_of_its_grace(&mut self, name: &str) {
        let Some(id) = self.services.id_of(name) else {
            return;
        };
        let Some(spec) = self.services.get(id).map(|service| &service.spec) else {
            return;
        };
        let budget = self.settings.stop_budget;
        let grace = spec.stop.grace_ms.map(Duration::from_millis);
        if !spec.requires.is_empty() {
            self.warn_of_short_budget();
        } else if let Some(grace) = grace.filter(|grace| *grace > budget) {
            self.warn_of_short_grace(id, grace, budget);
        }
    }

    fn warn_of_short_grace(&mut self, id: ServiceId, grace: Duration, granted: Duration) {
        let Some(service) = self.services.get_mut(id) else {
            return;
        };
        // A default grace is cut to the budget without a word: nobody asked for it.
        if service.spec.stop.grace_ms.is_none() || service.short_told {
            return;
        }
        service.short_told = true;
        let text = format!(
            "{} wants {grace:?} to stop, and the budget leaves it {granted:?}; raise \
             HERM_STOP_TIMEOUT and docker's --stop-timeout",
            service.name()
        );
        self.output.warn(&text);
        let warnings = &mut self.boot.report.warnings;
        if warnings.len() < WARNINGS_MAX {
            warnings.push(text);
        }
    }
}
