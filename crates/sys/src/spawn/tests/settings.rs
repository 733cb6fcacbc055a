//! A child is what its launch says: user, limits, session, signals.

use std::os::fd::AsFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;
use crate::rlimit::{Limit, Resource};
use crate::signals::Signal;
use crate::spawn::{Capabilities, Identity, Session};

/// A field of the child's own `/proc/self/status`.
fn status_of(spawner: &mut Spawner, launch: Launch, field: &str) -> Vec<String> {
    let text = output_of(spawner, launch);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")))
        .unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

fn status_reader() -> Launch {
    let argv = vec![c"cat".to_owned(), c"/proc/self/status".to_owned()];
    Launch::new(Program::Paths(vec![c"/bin/cat".into()]), argv)
}

#[test]
fn arguments_environment_directory_and_mask_are_as_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for (way, mut spawner) in every_way() {
        let mut launch = shell("echo \"$0|$1|$A|$B|$(pwd)|$(umask)\"");
        launch
            .argv
            .extend([c"zero".to_owned(), c"one two".to_owned()]);
        launch.env.extend([c"A=x y".to_owned(), c"B=".to_owned()]);
        launch.cwd = Some(CString::new(path.to_str().unwrap()).unwrap());
        launch.umask = Some(0o137);
        let expected = format!("zero|one two|x y||{}|0137\n", path.display());
        assert_eq!(output_of(&mut spawner, launch), expected, "{way}");
    }
}

#[test]
fn a_directory_given_by_descriptor_is_entered_whatever_has_its_name_by_now() {
    let dir = tempfile::tempdir().unwrap();
    for (way, mut spawner) in every_way() {
        let place = dir.path().join(way);
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("file"), "the one\n").unwrap();
        let mut launch = shell("cat file");
        launch.cwd_at = Some(std::fs::File::open(&place).unwrap().into());
        std::fs::rename(&place, dir.path().join(format!("{way}.moved"))).unwrap();
        assert_eq!(output_of(&mut spawner, launch), "the one\n", "{way}");
    }
}

#[test]
fn nothing_of_ours_is_in_its_environment() {
    let argv = vec![c"env".to_owned()];
    let mut launch = Launch::new(Program::Paths(vec![c"/usr/bin/env".into()]), argv);
    launch.env = vec![c"ONLY=this".into()];
    assert_eq!(
        output_of(&mut Spawner::new().unwrap(), launch),
        "ONLY=this\n"
    );
}

#[test]
fn another_user_has_its_ids_and_groups_and_no_capabilities() {
    if !is_root() {
        return;
    }
    let id = NOBODY_HERE.to_string();
    for (way, mut spawner) in every_way() {
        let reader = || {
            let mut launch = status_reader();
            let groups = vec![NOBODY_HERE, 7];
            launch.identity = Some(Identity {
                uid: NOBODY_HERE,
                gid: NOBODY_HERE,
                groups,
            });
            launch
        };
        assert_eq!(
            status_of(&mut spawner, reader(), "Uid"),
            vec![id.clone(); 4],
            "{way}"
        );
        assert_eq!(
            status_of(&mut spawner, reader(), "Gid"),
            vec![id.clone(); 4],
            "{way}"
        );
        assert_eq!(
            status_of(&mut spawner, reader(), "Groups"),
            ["7", id.as_str()],
            "{way}"
        );
        assert_eq!(
            status_of(&mut spawner, reader(), "CapEff"),
            ["0000000000000000"],
            "{way}"
        );
    }
}

#[test]
fn our_own_ids_are_not_touched_by_a_child_that_changes_its_own() {
    if !is_root() {
        return;
    }
    let before = crate::credentials::ids();
    for (_, mut spawner) in every_way() {
        let mut launch = shell("exit 0");
        launch.identity = Some(Identity {
            uid: NOBODY_HERE,
            gid: NOBODY_HERE,
            groups: vec![],
        });
        launch.cwd = Some(c"/".into());
        launch.umask = Some(0);
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(run(&mut spawner, launch), (Exit::Code(0), None));
        assert_eq!(crate::credentials::ids(), before);
        assert_eq!(std::env::current_dir().unwrap(), cwd);
    }
}

#[test]
fn dropped_capabilities_can_not_come_back() {
    for (way, mut spawner) in every_way() {
        let reader = || {
            let mut launch = status_reader();
            launch.capabilities = Capabilities::DropAll;
            launch.no_new_privs = true;
            launch
        };
        let none = ["0000000000000000"];
        // Executing as user 0 would fill the sets again from the bounding set, were that not empty.
        for field in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(
                status_of(&mut spawner, reader(), field),
                none,
                "{way}: {field}"
            );
        }
        assert_eq!(
            status_of(&mut spawner, reader(), "NoNewPrivs"),
            ["1"],
            "{way}"
        );
    }
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    // Rust ignores SIGPIPE, and herm blocks everything: a child must inherit neither.
    let before = crate::signals::set_blocked(crate::signals::SignalSet::ALL);
    for (way, mut spawner) in every_way() {
        for field in ["SigBlk", "SigIgn"] {
            assert_eq!(
                status_of(&mut spawner, status_reader(), field),
                ["0000000000000000"],
                "{way}: {field}"
            );
        }
    }
    crate::signals::set_blocked(before);
}

#[test]
fn limits_are_set() {
    for (way, mut spawner) in every_way() {
        let mut launch = shell("ulimit -Sn; ulimit -Hn; ulimit -Sc");
        launch.limits = vec![
            (
                Resource::OpenFiles,
                Limit {
                    soft: Some(123),
                    hard: Some(456),
                },
            ),
            (
                Resource::Core,
                Limit {
                    soft: Some(0),
                    hard: Some(0),
                },
            ),
        ];
        assert_eq!(output_of(&mut spawner, launch), "123\n456\n0\n", "{way}");
    }
}

#[test]
fn sessions_and_groups_are_its_own_or_ours() {
    let me = crate::process::stat(rustix::process::getpid()).unwrap();
    for (way, mut spawner) in every_way() {
        let stat_of = |spawner: &mut Spawner, session| {
            let argv = vec![c"cat".to_owned(), c"/proc/self/stat".to_owned()];
            let mut launch = Launch::new(Program::Paths(vec![c"/bin/cat".into()]), argv);
            launch.session = session;
            crate::process::Stat::parse(output_of(spawner, launch).as_bytes()).unwrap()
        };
        let child = stat_of(&mut spawner, Session::New { terminal: None });
        let pid = child.pid.as_raw_pid();
        assert_eq!((child.session, child.group), (pid, pid), "{way}");
        let child = stat_of(
            &mut spawner,
            Session::NewGroup {
                foreground_on: None,
            },
        );
        assert_eq!(
            (child.session, child.group),
            (me.session, child.pid.as_raw_pid()),
            "{way}"
        );
        let child = stat_of(&mut spawner, Session::Inherit);
        assert_eq!(
            (child.session, child.group),
            (me.session, me.group),
            "{way}"
        );
    }
}

#[test]
fn l46_a_terminal_is_handed_over_and_can_be_used() {
    for (way, mut spawner) in every_way() {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let terminal = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        // /dev/tty can be opened only by who has a controlling terminal; `trap` runs when Ctrl-C reaches the foreground.
        let mut launch =
            shell("trap 'exit 42' INT; : </dev/tty && echo ready; while :; do sleep 0.05; done");
        for target in 0..3 {
            launch.fds.push(Handover {
                source: terminal.try_clone().unwrap(),
                target,
            });
        }
        launch.session = Session::New {
            terminal: Some(terminal),
        };
        let pid = spawner.spawn(launch, None).unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"ready\r\n") {
            let mut chunk = [0; 64];
            let n = rustix::io::read(&master, &mut chunk).unwrap();
            heard.extend(&chunk[..n]);
        }
        rustix::io::write(master.as_fd(), b"\x03").unwrap();
        assert_eq!(end_of(&mut spawner, pid), (Exit::Code(42), None), "{way}");
    }
}

#[test]
fn a_child_can_be_told_of_our_death() {
    // The signal itself is the kernel's doing; that it was asked for, and that our being alive was checked, is ours.
    for (way, mut spawner) in every_way() {
        let mut launch = shell("exit 5");
        launch.parent_death = Some(Signal::TERM);
        assert_eq!(run(&mut spawner, launch), (Exit::Code(5), None), "{way}");
    }
}

#[test]
fn its_out_of_memory_score_is_raised_and_ours_is_not() {
    let ours = || std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let before = ours();
    for (way, mut spawner) in every_way() {
        let mut launch = Launch::new(
            Program::Paths(vec![c"/bin/sleep".into()]),
            vec![c"sleep".into(), c"60".into()],
        );
        launch.oom_score_adj = Some(777);
        let pid = spawner.spawn(launch, None).unwrap();
        until_executed(&mut spawner, pid);
        let score =
            std::fs::read_to_string(format!("/proc/{}/oom_score_adj", pid.as_raw_pid())).unwrap();
        assert_eq!(score.trim(), "777", "{way}");
        assert_eq!(ours(), before, "{way}");
        crate::signals::kill(pid, Signal::KILL).unwrap();
        end_of(&mut spawner, pid);
    }
}
