//! How a start ends: every exit, and every way not to get as far as the program.

use rustix::io::Errno;
use rustix::process::Pid;

use super::*;
use crate::memfd::SharedMemory;
use crate::rlimit::{Limit, Resource};
use crate::signals::Signal;
use crate::spawn::{Session, SpawnError, Stage, search_path};

#[test]
fn l43_every_exit_code_comes_back() {
    let mut spawner = Spawner::new().unwrap();
    for code in 0..=255 {
        assert_eq!(
            run(&mut spawner, shell(&format!("exit {code}"))),
            (Exit::Code(code), None)
        );
    }
}

#[test]
fn l43_every_deadly_signal_comes_back() {
    let mut spawner = Spawner::new().unwrap();
    let harmless = [
        Signal::CHLD,
        Signal::CONT,
        Signal::STOP,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::WINCH,
    ];
    let urgent = Signal::parse("URG").unwrap();
    for number in (1..=31).chain(34..=Signal::MAX) {
        let signal = Signal::new(number).unwrap();
        if harmless.contains(&signal) || signal == urgent {
            continue;
        }
        let mut launch = shell(&format!("kill -{number} $$"));
        launch.limits = vec![(
            Resource::Core,
            Limit {
                soft: Some(0),
                hard: Some(0),
            },
        )];
        let (exit, failure) = run(&mut spawner, launch);
        assert!(
            matches!(exit, Exit::Signal { signal: by, .. } if by == signal),
            "{number}: {exit}"
        );
        assert_eq!(failure, None);
    }
}

#[test]
fn what_is_not_there_is_told_from_what_may_not_be_executed() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let plain = CString::new(plain.to_str().unwrap()).unwrap();
    for (way, mut spawner) in every_way() {
        let (exit, failure) = run(&mut spawner, program(c"/nonexistent/program"));
        let failure = failure.unwrap();
        assert_eq!(
            (exit, failure.stage, failure.errno),
            (Exit::Code(127), Stage::Exec, Some(Errno::NOENT)),
            "{way}"
        );
        assert!(failure.is_not_found());
        assert!(
            failure
                .to_string()
                .starts_with("cannot execute /nonexistent/program: No such file"),
            "{failure}"
        );

        let (exit, failure) = run(&mut spawner, program(&plain));
        let failure = failure.unwrap();
        assert_eq!(
            (exit, failure.errno),
            (Exit::Code(126), Some(Errno::ACCESS)),
            "{way}"
        );
        assert!(!failure.is_not_found());
    }
}

#[test]
fn a_missing_working_directory_is_named() {
    for (way, mut spawner) in every_way() {
        let mut launch = shell("exit 0");
        launch.cwd = Some(c"/nonexistent/cwd".into());
        let (exit, failure) = run(&mut spawner, launch);
        assert_eq!(exit, Exit::Code(126), "{way}");
        let text = failure.unwrap().to_string();
        assert!(
            text.starts_with("cannot enter its working directory /nonexistent/cwd: No such file"),
            "{text}"
        );
    }
}

#[test]
fn each_stage_reports_itself() {
    type Spoil = fn(&mut Launch);
    let failing: [(Stage, Errno, Spoil); 3] = [
        (Stage::Limits, Errno::INVAL, |launch| {
            launch.limits = vec![(
                Resource::Core,
                Limit {
                    soft: Some(2),
                    hard: Some(1),
                },
            )];
        }),
        (Stage::Terminal, Errno::NOTTY, |launch| {
            launch.session = Session::New {
                terminal: Some(std::io::pipe().unwrap().0.into()),
            };
        }),
        (Stage::Descriptors, Errno::INVAL, |launch| {
            // F_DUPFD finds no room above this.
            let source = std::io::pipe().unwrap().0.into();
            launch.fds.push(Handover {
                source,
                target: i32::MAX - 1,
            });
        }),
    ];
    for (way, mut spawner) in every_way() {
        for (stage, errno, spoil) in failing {
            let mut launch = shell("exit 0");
            spoil(&mut launch);
            let (exit, failure) = run(&mut spawner, launch);
            let failure = failure.unwrap();
            assert_eq!(
                (exit, failure.stage, failure.errno),
                (Exit::Code(126), stage, Some(errno)),
                "{way}"
            );
        }
    }
}

#[test]
fn a_launch_that_makes_no_sense_makes_no_process() {
    let mut spawner = Spawner::new().unwrap();
    let invalid = |launch| matches!(launch, Err(SpawnError::Invalid(_)));
    assert!(invalid(spawner.spawn(
        Launch::new(Program::Paths(vec![]), vec![c"x".into()]),
        None
    )));
    assert!(invalid(spawner.spawn(
        Launch::new(Program::Paths(vec![c"/bin/true".into()]), vec![]),
        None
    )));
    let mut twice = shell("exit 0");
    let _readers = (pipe_to(&mut twice, 5), pipe_to(&mut twice, 5));
    assert!(invalid(spawner.spawn(twice, None)));
    let mut negative = shell("exit 0");
    let _reader = pipe_to(&mut negative, -1);
    assert!(invalid(spawner.spawn(negative, None)));
    assert_eq!(spawner.under_way(), 0);
}

#[test]
fn a_program_is_searched_where_the_path_says() {
    for (way, mut spawner) in every_way() {
        let found = search_path(c"true", b"/nonexistent:/etc/passwd:/usr/bin:/bin");
        let launch = Launch::new(Program::Paths(found), vec![c"true".into()]);
        assert_eq!(run(&mut spawner, launch), (Exit::Code(0), None), "{way}");
        let nowhere = search_path(c"true", b"/nonexistent:/etc/passwd");
        let launch = Launch::new(Program::Paths(nowhere), vec![c"true".into()]);
        let (exit, failure) = run(&mut spawner, launch);
        assert_eq!(exit, Exit::Code(127), "{way}");
        assert!(
            failure
                .unwrap()
                .to_string()
                .starts_with("cannot execute true: "),
            "named as asked for"
        );
    }
}

#[test]
fn the_kernel_puts_the_pid_on_record() {
    let memory = SharedMemory::create("record", 4096).unwrap();
    let word = memory.pid_word(128).unwrap();
    for (way, mut spawner) in every_way() {
        word.clear();
        let pid = spawner.spawn(shell("exit 3"), Some(&word)).unwrap();
        assert_eq!(Pid::from_raw(word.get()), Some(pid), "{way}");
        assert_eq!(end_of(&mut spawner, pid), (Exit::Code(3), None));
    }
}

#[test]
fn a_failure_is_known_before_and_after_it_is_reaped() {
    for (way, mut spawner) in every_way() {
        let pid = spawner.spawn(program(c"/nonexistent"), None).unwrap();
        while matches!(spawner.progress(pid), Progress::Starting(_)) {
            std::thread::yield_now();
        }
        assert!(
            matches!(spawner.progress(pid), Progress::Failed(failure) if failure.is_not_found()),
            "{way}"
        );
        assert!(end_of(&mut spawner, pid).1.is_some(), "{way}");
        assert_eq!(spawner.reaped(pid), None, "told once");
    }
}
