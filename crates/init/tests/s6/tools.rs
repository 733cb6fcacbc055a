//! herm's commands with a genuine supervisor, and the genuine ones with herm.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::scenario::{Service, Stay};
use crate::stage::{Stage, Who, tool, until, write_service};

/// The commands of one of the two, by name.
struct Tools(PathBuf);

impl Tools {
    fn run(&self, name: &str, args: &[&str], stage: &Stage, service: &str) -> (i32, String) {
        let path = match service {
            "." => stage.scan(),
            name => stage.service(name),
        };
        tool(self.0.join(name), args, &path)
    }
}

fn plain(name: &'static str) -> Service {
    Service {
        name,
        lives: Vec::new(),
        stay: Stay::Plain,
        notifies: true,
        finish: None,
        finish_hangs: false,
        down_signal: None,
        timeout_kill: false,
        down: false,
        logged: false,
    }
}

/// What every pair of commands and supervisor has to do alike.
fn everyday(who: Who, tools: &Tools) -> Vec<String> {
    let place = Stage::place();
    let traces = place.path().to_owned();
    write_service(&traces.join("service/a"), &plain("a"), &traces);
    let stage = Stage::start(who, place);
    until("supervision", || {
        tools.run("s6-svok", &[], &stage, "a").0 == 0
    })
    .unwrap();
    let mut seen = Vec::new();
    let mut note = |what: &str, (code, text): (i32, String)| {
        let text = match text.split_once("(pid ") {
            Some((before, after)) => {
                let after = after.split_once(')').map_or("", |(_, after)| after);
                let words: Vec<&str> = after
                    .split(' ')
                    .filter(|word| word.parse::<u32>().is_err())
                    .collect();
                format!("{before}{}", words.join(" "))
            }
            None => text,
        };
        seen.push(format!("{what}: {code} {}", text.trim_end()));
    };
    let run = |name: &str, args: &[&str], service: &str| tools.run(name, args, &stage, service);
    note(
        "wait for ready",
        run("s6-svwait", &["-U", "-t", "60000"], "a"),
    );
    note("status", run("s6-svstat", &[], "a"));
    note(
        "fields",
        run(
            "s6-svstat",
            &["-o", "up,wantedup,ready,exitcode,signal"],
            "a",
        ),
    );
    note("permissions", run("s6-svperms", &[], "a"));
    note(
        "down and wait",
        run("s6-svc", &["-wD", "-T", "60000", "-d"], "a"),
    );
    note(
        "fields when down",
        run("s6-svstat", &["-o", "up,pid,exitcode,signal,signum"], "a"),
    );
    note(
        "up and wait",
        run("s6-svc", &["-wU", "-T", "60000", "-u"], "a"),
    );
    note(
        "restart and wait",
        run("s6-svc", &["-wR", "-T", "60000", "-r"], "a"),
    );
    note("time out", run("s6-svwait", &["-d", "-t", "3000"], "a"));
    for (lister, end) in [("s6-svlisten1", None), ("s6-svlisten", Some(""))] {
        let dir = stage.service("a").display().to_string();
        let svc = tools.0.join("s6-svc").display().to_string();
        let mut words = vec!["-R", "-t", "60000", &dir];
        words.extend(end);
        words.extend([svc.as_str(), "-r"]);
        note("listen to a restart", run(lister, &words, "a"));
    }
    note("no such service", run("s6-svok", &[], "nope"));
    note("orders to none", run("s6-svc", &["-u"], "nope"));
    note("scan", run("s6-svscanctl", &["-an"], "."));
    note("bad option", run("s6-svscanctl", &["-p"], "."));
    for line in &mut seen {
        *line = line.replace(&stage.dir.path().display().to_string(), "");
    }
    seen
}

#[test]
fn every_command_does_the_same_with_every_supervisor() {
    let bin = tempfile::tempdir().unwrap();
    for name in [
        "s6-svc",
        "s6-svstat",
        "s6-svok",
        "s6-svwait",
        "s6-svlisten",
        "s6-svlisten1",
        "s6-svscanctl",
        "s6-svperms",
    ] {
        symlink(env!("CARGO_BIN_EXE_herm-init"), bin.path().join(name)).unwrap();
    }
    let genuine = Tools("".into());
    let ours = Tools(bin.path().into());
    let expected = everyday(Who::Genuine, &genuine);
    assert!(
        expected
            .iter()
            .any(|line| line.starts_with("up and wait: 0")),
        "{expected:?}"
    );
    assert_eq!(everyday(Who::Genuine, &ours), expected);
    assert_eq!(everyday(Who::Herm, &genuine), expected);
    assert_eq!(everyday(Who::Herm, &ours), expected);
}

#[test]
fn l83_a_service_comes_and_goes_many_times_and_leaves_nothing() {
    let place = Stage::place();
    let traces = place.path().to_owned();
    let stage = Stage::start(Who::Herm, place);
    let dir = stage.service("a");
    let state = stage.dir.path().join("run/scan/a");
    until("a scanner", || {
        tool("s6-svscanctl", &["-a"], &stage.scan()).0 == 0
    })
    .unwrap();
    for turn in 0..30 {
        let hidden = stage.scan().join(".a");
        write_service(&hidden, &plain("a"), &traces);
        std::fs::rename(&hidden, &dir).unwrap();
        tool("s6-svscanctl", &["-a"], &stage.scan());
        until("supervision of this very directory", || {
            dir.join("supervise/status").exists()
        })
        .unwrap();
        let wait = |goal, option| tool("s6-svc", &[goal, "-T", "60000", option], &dir).0;
        assert_eq!(wait("-wU", "-u"), 0, "up in turn {turn}");
        assert_eq!(wait("-wD", "-d"), 0, "down in turn {turn}");
        // As upstream's manager has it: let go while the directory is there, and remove it then.
        tool("s6-svscanctl", &["-an"], &stage.scan());
        std::fs::remove_dir_all(&dir).unwrap();
    }
    until("nothing to be left", || !state.exists()).unwrap();
}
