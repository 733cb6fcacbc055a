//! Setup can be cut at any instant and repeated.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use crate::world::{World, calls, is_root};

/// Instants at which setup is killed, spread over all of its system calls.
const CUTS: usize = 200;

#[test]
fn setup_that_was_killed_at_any_instant_and_repeated_ends_as_if_it_had_not_been() {
    if !is_root() {
        return;
    }
    let model = World::new(1);
    let log = model.path("trace");
    let log = log.to_str().unwrap();
    let whole = model.setup(&["strace", "-f", "-o", log]);
    assert!(whole.status.success(), "{whole:?}");
    let wanted = model.look();
    assert!(
        String::from_utf8_lossy(&fs::read(model.path("etc/passwd")).unwrap())
            .contains("hermes:x:4711:4712:"),
        "{whole:?}"
    );
    let trace = fs::read_to_string(log).unwrap();
    let made = calls(&trace);
    // Each call of a kind is told from the others by its number.
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cuts = Vec::new();
    for call in made {
        let count = counts.entry(call).or_default();
        *count += 1;
        cuts.push((call, *count));
    }
    let step = cuts.len().div_ceil(CUTS);
    let mut killed = 0;
    for (call, number) in cuts.iter().step_by(step.max(1)) {
        let world = World::new(1);
        let kill = format!("inject={call}:signal=SIGKILL:when={number}");
        let cut = world.setup(&["strace", "-f", "-o", "/dev/null", "-e", &kill]);
        killed += usize::from(cut.status.signal() == Some(9));
        let again = world.setup(&[]);
        assert!(again.status.success(), "cut at {call} {number}: {again:?}");
        let found = world.look();
        for (path, seen) in &wanted {
            assert_eq!(
                found.get(path),
                Some(seen),
                "{} after a cut at {call} {number}",
                path.display()
            );
        }
        let left: Vec<_> = found
            .keys()
            .filter(|path| !wanted.contains_key(*path))
            .collect();
        assert!(left.is_empty(), "{left:?} after a cut at {call} {number}");
    }
    assert!(killed > CUTS / 4, "only {killed} runs were cut");
}

#[test]
fn a_second_setup_changes_nothing_and_a_dry_run_foretells_the_first() {
    if !is_root() {
        return;
    }
    let world = World::new(1);
    let first = world.setup(&[]);
    assert!(first.status.success(), "{first:?}");
    let wanted = world.look();
    let second = world.setup(&[]);
    assert!(
        second.stdout.is_empty() && second.stderr.is_empty(),
        "{second:?}"
    );
    assert_eq!(world.look(), wanted);
    world.give_to_root();
    let third = world.setup(&[]);
    let output = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(output.contains("setup: give "), "{output}");
}
