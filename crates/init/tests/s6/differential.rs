//! The same generated scenarios on the genuine scanner and on herm, and what was seen of both
//! (`docs/s6-compat.md` has the differences that are meant).
//!
//! `HERM_S6_SEED=17` plays one seed, `HERM_S6_COUNT=5000` that many; without them a few hundred
//! are played, the same ones everywhere.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::play::{Seen, play};
use crate::scenario::Scenario;
use crate::stage::Who;

/// How many are played where nobody says.
const COUNT: u64 = 240;
/// How many at once: nearly all of the time is spent waiting for a restart.
const AT_ONCE: usize = 48;

#[test]
fn herm_and_the_genuine_scanner_show_the_same() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let seeds = if let Some(seed) = number("HERM_S6_SEED") {
        seed..seed + 1
    } else {
        let first = number("HERM_S6_FIRST").unwrap_or(0);
        first..first + number("HERM_S6_COUNT").unwrap_or(COUNT)
    };
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(why) = compare(seed) {
                        failures.lock().unwrap().push((seed, why));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let mut report = String::new();
    for (seed, why) in &failures {
        let _ = writeln!(report, "\n=== HERM_S6_SEED={seed}\n{why}");
    }
    assert!(
        failures.is_empty(),
        "{} of {} scenarios differ{report}",
        failures.len(),
        seeds.end - seeds.start
    );
}

fn compare(seed: u64) -> Result<(), String> {
    let scenario = Scenario::of_seed(seed);
    let told = |why: String| format!("{}{why}", describe(&scenario));
    let genuine = play(&scenario, Who::Genuine).map_err(told)?;
    let herm = play(&scenario, Who::Herm).map_err(told)?;
    match difference(&genuine, &herm) {
        None => Ok(()),
        Some(why) => Err(told(why)),
    }
}

fn describe(scenario: &Scenario) -> String {
    let mut text = String::new();
    for service in &scenario.services {
        let _ = writeln!(text, "{service}");
    }
    let _ = writeln!(text, "{:?}", scenario.orders);
    text
}

fn difference(genuine: &Seen, herm: &Seen) -> Option<String> {
    let mut text = String::new();
    for place in 0..genuine.len().max(herm.len()) {
        let line = |seen: &Seen| seen.get(place).cloned().unwrap_or_default();
        let (genuine, herm) = (line(genuine), line(herm));
        if genuine != herm {
            let _ = writeln!(text, "genuine: {genuine}\nherm:    {herm}");
        }
    }
    (!text.is_empty()).then_some(text)
}
