//! Operators' orders: recorded durably, then acknowledged.
//!
//! PID 1 has carried an order out by the time it is heard of here. So the agent's planned-stop
//! marker can only race with TERM: the command line writes it before it asks; for orders that
//! came by another tool it is written here, at once, and where it comes too late the record of
//! intent is what counts anyway (L76).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use herm_home::markers::{planned_stop_target, write_planned_stop};
use herm_home::{Desired, Home, HomeError, ProfileName, intent, process};
use herm_wire::{Desired as Want, Order, ServiceView};

/// Orders that wait to be recorded; of several for one service only the last counts.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    waiting: BTreeMap<String, Order>,
}

/// An order that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The service.
    pub(crate) name: String,
    /// Its profile.
    pub(crate) profile: ProfileName,
    /// The order's number.
    pub(crate) seq: u64,
    /// What is wanted now.
    pub(crate) desired: Desired,
}

impl Orders {
    /// Takes an order.
    pub(crate) fn push(&mut self, order: Order) {
        let known = self.waiting.get(&order.name).map_or(0, |known| known.seq);
        if order.seq > known {
            self.waiting.insert(order.name.clone(), order);
        }
    }

    /// Takes out all that wait.
    pub(crate) fn take_all(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// Whether some could not be recorded yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Records what waits. What can't be written now (a full disk) stays and is tried again; what
    /// is no profile's is done with.
    pub(crate) fn record(
        &mut self,
        home: &Home,
        services: &BTreeMap<String, ServiceView>,
        remarks: &mut Vec<String>,
    ) -> Vec<Recorded> {
        let mut recorded = Vec::new();
        let mut unrecorded = BTreeMap::new();
        for (name, order) in std::mem::take(&mut self.waiting) {
            let Some(profile) = ProfileName::from_service(&name) else {
                continue;
            };
            if !home.profile(&profile).dir().exists() {
                // Deleted meanwhile: there is nothing left to want.
                continue;
            }
            let desired = match order.want {
                Want::Up => Desired::Running,
                Want::Down => Desired::Stopped,
            };
            let pid = services.get(&name).and_then(|service| service.pid);
            match record(home, &profile, desired, &order, pid) {
                Ok(()) => recorded.push(Recorded {
                    name,
                    profile,
                    seq: order.seq,
                    desired,
                }),
                Err(error) => {
                    remarks.push(format!("{profile}: the order is not recorded yet: {error}"));
                    unrecorded.insert(name, order);
                }
            }
        }
        self.waiting = unrecorded;
        recorded
    }
}

fn record(
    home: &Home,
    profile: &ProfileName,
    desired: Desired,
    order: &Order,
    pid: Option<u32>,
) -> Result<(), HomeError> {
    let paths = home.profile(profile);
    let now = SystemTime::now();
    if desired == Desired::Stopped
        && let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok())
        && process::look(Path::new("/proc"), pid).is_some_and(|process| !process.zombie)
        && planned_stop_target(&paths)? != Some(pid)
    {
        write_planned_stop(&paths, pid, now, Path::new("/proc"))?;
    }
    intent::record(&paths, desired, &order.by, now).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn order(seq: u64, want: Want) -> Order {
        Order {
            name: "gateway-a".into(),
            seq,
            want,
            by: "uid 1".into(),
            at: "t".into(),
        }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("profiles/a")).unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    fn a() -> ProfileName {
        ProfileName::parse("a").unwrap()
    }

    #[test]
    fn of_two_orders_at_once_the_later_is_recorded_whichever_comes_first() {
        let (_dir, home) = home();
        let mut orders = Orders::default();
        orders.push(order(5, Want::Down));
        orders.push(order(4, Want::Up));
        let recorded = orders.record(&home, &BTreeMap::new(), &mut Vec::new());
        assert_eq!(recorded.len(), 1);
        assert_eq!(
            (recorded[0].seq, recorded[0].desired),
            (5, Desired::Stopped)
        );
        let intent = intent::peek(&home.profile(&a())).unwrap().unwrap();
        assert_eq!(
            (intent.state, intent.by.as_str()),
            (Desired::Stopped, "uid 1")
        );
        assert!(orders.is_empty());
    }

    #[test]
    fn l75_an_order_that_cannot_be_written_is_kept_and_tried_again() {
        let (dir, home) = home();
        fs::write(dir.path().join("profiles/a/.herm"), "in the way").unwrap();
        let mut orders = Orders::default();
        orders.push(order(1, Want::Up));
        let mut remarks = Vec::new();
        assert_eq!(orders.record(&home, &BTreeMap::new(), &mut remarks), []);
        assert!(!orders.is_empty() && remarks.len() == 1);
        fs::remove_file(dir.path().join("profiles/a/.herm")).unwrap();
        assert_eq!(
            orders.record(&home, &BTreeMap::new(), &mut remarks).len(),
            1
        );
    }
}
