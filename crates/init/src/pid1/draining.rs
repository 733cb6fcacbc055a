//! Runs whose main process is gone: whether anything of them still lives.

use herm_engine::{Event, RunId, SortedSet};

use super::supervisor::Supervisor;

impl Supervisor {
    /// Looks for what draining runs left behind, if anything happened since the last look, and
    /// tells the engine of those that are empty.
    pub(crate) fn count_draining(&mut self) {
        while std::mem::take(&mut self.recount) {
            let draining: Vec<u64> = self
                .runs
                .iter()
                .filter(|(_, run)| run.draining)
                .map(|(run, _)| *run)
                .collect();
            if draining.is_empty() {
                return;
            }
            let ours = self.expected_children();
            let empty = if self.sight.nobody_strays(|| ours.clone()) {
                draining
            } else {
                self.empty_ones(&draining, &ours)
            };
            for number in empty {
                self.close_run(number);
                self.events.push_back(Event::Emptied {
                    run: RunId::from_number(number),
                });
            }
            self.drain();
        }
    }

    /// Those of the draining runs of which no process is found.
    fn empty_ones(&mut self, draining: &[u64], ours: &SortedSet<i32>) -> Vec<u64> {
        let (mut empty, mut others) = (Vec::new(), Vec::new());
        for number in draining {
            match self.group_of(*number) {
                Some(group) if self.is_group_empty(*number, &group) => empty.push(*number),
                Some(_) => {}
                None => others.push(*number),
            }
        }
        if !others.is_empty() {
            empty.extend(self.empty_without_group(&others, ours));
        }
        empty
    }

    /// The same of runs without a control group. While a helper looks for cookies among processes
    /// that might be theirs, they are not empty yet.
    fn empty_without_group(&mut self, draining: &[u64], ours: &SortedSet<i32>) -> Vec<u64> {
        let Ok(census) = self.sight.census() else {
            // Without /proc nothing but our own children can be known.
            return draining.to_vec();
        };
        let unknown: Vec<_> = census.unattributed(ours, &self.attributions).collect();
        let pending = self.ask_for_cookies(&unknown, draining);
        let is_empty = |number: &&u64| {
            let Some(run) = self.runs.get(number) else {
                return true;
            };
            !pending.contains(&run.record.uid)
                && census.members(&run.record, &self.attributions).is_empty()
        };
        draining.iter().filter(is_empty).copied().collect()
    }
}
