//! Registration is a transaction.

use herm_wire::{Desired, ErrorCode, Kind, Op, State};

use crate::world::{World, lives, shell, sleeper};

#[test]
fn l24_a_registration_that_fails_leaves_nothing_behind() {
    let world = World::new();
    let mut client = world.booted();
    let mut a = sleeper("a");
    a.requires = vec!["b".to_owned()];
    let mut b = sleeper("b");
    b.requires = vec!["a".to_owned()];
    let mut no_program = sleeper("c");
    no_program.argv.clear();
    let mut bad_signal = sleeper("d");
    bad_signal.stop.signal = Some("SOON".to_owned());
    client.register(a).unwrap();
    for bad in [
        b,
        no_program,
        bad_signal,
        sleeper("../x"),
        sleeper("-rf"),
        sleeper("A B"),
    ] {
        let error = client.register(bad).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadConfig, "{error:?}");
    }
    let names: Vec<String> = client.services().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["a"]);
}

#[test]
fn l82_the_registration_beyond_capacity_fails_to_its_caller_and_the_others_run() {
    let world = World::through(
        &["/bin/sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"],
        &[],
        &[],
    );
    let mut client = world.booted();
    let mut supervised = 0;
    let refused = loop {
        match client.register(sleeper(&format!("s{supervised}"))) {
            Ok(_) => supervised += 1,
            Err(error) => break error,
        }
        assert!(supervised < 200, "it never says that it is full");
    };
    assert_eq!(refused.code, ErrorCode::NoCapacity);
    assert!(refused.hint.is_some());
    for number in 0..supervised {
        assert!(client.start(&format!("s{number}")).is_ok());
    }
    assert_eq!(client.services().len(), supervised);
    client.unregister("s0").unwrap();
    client.register(sleeper("another")).unwrap();
}

#[test]
fn l83_a_name_can_be_unregistered_and_registered_again_at_once_and_often() {
    let world = World::new();
    let mut client = world.booted();
    let mut last = None;
    for round in 0..200 {
        let view = client
            .register(sleeper("again"))
            .unwrap_or_else(|e| panic!("{round}: {e:?}"));
        assert_eq!(view.restarts, 0);
        if round % 20 == 0 {
            last = client.start("again").unwrap().pid;
        }
        client.unregister("again").unwrap();
        assert!(last.is_none_or(|pid| !lives(pid)));
    }
    assert!(client.services().is_empty());
}

#[test]
fn registering_again_keeps_the_process_and_counts_from_the_next_start() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let before = client.start("a").unwrap();
    let mut other = shell("a", "exec sleep 2000");
    other.initial = Desired::Down;
    let replaced = client.register(other).unwrap();
    assert_eq!(replaced.pid, before.pid);
    assert_eq!(replaced.state, State::Running);
    let after = client.restart("a").unwrap();
    assert_ne!(after.pid, before.pid);
    let line = std::fs::read(format!("/proc/{}/cmdline", after.pid.unwrap())).unwrap();
    assert!(String::from_utf8_lossy(&line).contains("2000"));
}

#[test]
fn l44_what_is_switched_off_reads_disabled_and_says_why() {
    let world = World::new();
    let mut client = world.booted();
    let mut off = sleeper("dash");
    off.disabled = Some("HERMES_DASHBOARD is not set".to_owned());
    let view = client.register(off).unwrap();
    assert_eq!(view.state, State::Disabled);
    assert!(view.reason.contains("HERMES_DASHBOARD"));
    let error = client.start("dash").unwrap_err();
    assert!(error.message.contains("HERMES_DASHBOARD"), "{error:?}");
    client.register(sleeper("dash")).unwrap();
    assert_eq!(client.start("dash").unwrap().state, State::Running);
}

#[test]
fn l35_a_stop_that_comes_late_leaves_a_service_switched_off() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("web")).unwrap();
    client.start("web").unwrap();
    let mut off = sleeper("web");
    off.disabled = Some("another instance runs it".to_owned());
    client.register(off).unwrap();
    client.stop("web").unwrap();
    let view = client.service("web");
    assert_eq!(view.state, State::Disabled, "{view:?}");
    assert_eq!(view.reason, "another instance runs it");
}

#[test]
fn a_profile_s_name_finds_its_service_and_a_service_goes_first() {
    let world = World::new();
    let mut client = world.booted();
    let mut gateway = sleeper("gateway-work");
    gateway.kind = Kind::Gateway;
    gateway.profile = Some("work".to_owned());
    client.register(gateway).unwrap();
    assert_eq!(client.service("work").name, "gateway-work");
    client.register(sleeper("work")).unwrap();
    assert_eq!(client.service("work").name, "work");
    let error = client
        .ask(Op::Service {
            name: "wrok".to_owned(),
        })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[test]
fn a_service_whose_place_was_taken_is_shown_where_its_slot_is_published_again() {
    let place = tempfile::tempdir().unwrap();
    let scan = place.path().join("service");
    std::fs::create_dir(&scan).unwrap();
    let slot = scan.join("gateway-ben");
    std::fs::write(&slot, "in the way").unwrap();
    let world = World::with(&[], &[("HERM_SCAN_DIR", scan.to_str().unwrap())]);
    let mut client = world.booted();
    let mut gateway = sleeper("gateway-ben");
    gateway.kind = Kind::Gateway;
    client.register(gateway).unwrap();
    world.until_said("gateway-ben is not in the scan directory");
    std::fs::remove_file(&slot).unwrap();
    std::fs::create_dir(&slot).unwrap();
    let looked = std::process::Command::new("s6-svscanctl")
        .arg("-a")
        .arg(&scan)
        .status();
    assert!(looked.unwrap().success());
    world.until("the slot is supervised", || {
        let answer = std::process::Command::new("s6-svok").arg(&slot).status();
        answer.unwrap().success().then_some(())
    });
    assert_eq!(client.service("gateway-ben").name, "gateway-ben");
}
