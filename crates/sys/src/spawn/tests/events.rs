//! The exec is an event: nobody has to look again and again.

use super::*;
use crate::signals::{Signal, kill};

/// Sleeps until the spawner has something to say, with a guard against sleeping for ever.
fn wait_for_event(poller: &mut Poller) {
    let mut ready = Vec::new();
    poller.wait(Some(STUCK), &mut ready).unwrap();
    assert!(!ready.is_empty(), "no event has come");
}

fn poller_of(spawner: &Spawner) -> Poller {
    let poller = Poller::new().unwrap();
    poller
        .add(spawner.events(), Token::new(0, 0), Interest::READ)
        .unwrap();
    poller
}

/// The children that are told to have executed, waiting for nothing but events.
fn next_executed(spawner: &mut Spawner, poller: &mut Poller) -> Vec<Pid> {
    loop {
        let executed = spawner.take_executed();
        if !executed.is_empty() {
            return executed.into_iter().map(|child| child.pid).collect();
        }
        wait_for_event(poller);
    }
}

#[test]
fn an_exec_arrives_as_an_event_and_leaves_silence() {
    for (way, mut spawner) in every_way() {
        let mut poller = poller_of(&spawner);
        let pid = spawner.spawn(shell("read line"), None).unwrap();
        let executed = next_executed(&mut spawner, &mut poller);
        assert_eq!(executed, [pid], "{way}");
        assert_eq!(spawner.under_way(), 0, "{way}");
        let mut ready = Vec::new();
        poller.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty(), "{way}: no event is left over");
        end_of(&mut spawner, pid);
    }
}

#[test]
fn a_failed_exec_is_an_event_too_and_no_exec() {
    for (way, mut spawner) in every_way() {
        let mut poller = poller_of(&spawner);
        let pid = spawner.spawn(program(c"/nonexistent"), None).unwrap();
        while spawner.under_way() > 0 {
            wait_for_event(&mut poller);
            assert!(spawner.take_executed().is_empty(), "{way}");
        }
        assert!(end_of(&mut spawner, pid).1.is_some(), "{way}");
    }
}

#[test]
fn a_child_stopped_before_its_exec_is_silent_and_stalls_no_other() {
    if !is_root() {
        return;
    }
    for (way, mut spawner) in every_way() {
        let mut poller = poller_of(&spawner);
        let stopped = attack::stopped_child(&mut spawner, NOBODY_HERE + 2);
        spawner.take_executed();
        let mut ready = Vec::new();
        poller.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty(), "{way}: what is stopped says nothing");
        let other = spawner.spawn(shell("exit 0"), None).unwrap();
        assert_eq!(next_executed(&mut spawner, &mut poller), [other], "{way}");
        end_of(&mut spawner, other);
        kill(stopped, Signal::CONT).unwrap();
        assert_eq!(next_executed(&mut spawner, &mut poller), [stopped], "{way}");
        end_of(&mut spawner, stopped);
        assert_eq!(spawner.under_way(), 0);
    }
}

#[test]
fn a_child_that_was_reaped_is_not_told_of_again() {
    for (way, mut spawner) in every_way() {
        let pid = spawner.spawn(shell("exit 0"), None).unwrap();
        end_of(&mut spawner, pid);
        assert!(spawner.take_executed().is_empty(), "{way}");
    }
}
