//! Many services at once.

use std::thread;

use crate::world::World;

#[test]
fn three_hundred_services_write_at_once_and_each_log_is_its_own() {
    let world = World::new();
    let mut logd = world.start();
    let runs: Vec<_> = (0..300)
        .map(|n| {
            let run = world.run(n, &format!("service-{n}"));
            if n % 3 == 0 { run.sized(8_192) } else { run }
        })
        .collect();
    for run in &runs {
        logd.open(run);
    }
    thread::scope(|scope| {
        for part in runs.chunks(75) {
            scope.spawn(move || {
                for line in 0..40 {
                    for run in part {
                        run.write(format!("{} of {}\n", line, run.open.service).as_bytes());
                    }
                }
            });
        }
    });
    for mut run in runs {
        run.end();
        logd.eof(run.open.run);
        let service = &run.open.service;
        let expected: Vec<String> = (0..40).map(|n| format!("{n} of {service}")).collect();
        assert_eq!(world.lines(service), expected);
    }
}

#[test]
fn more_directories_than_descriptors_still_get_their_lines() {
    let world = World::new();
    // Room for six open directories beside the pipes.
    let mut logd = world.start();
    let pid = logd.pid().to_string();
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=150:150"])
        .status();
    if !limited.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no prlimit");
        return;
    }
    for n in 0..100 {
        let run = world.run(n, &format!("service-{n}"));
        logd.open(&run);
        run.write(b"hello\n");
        logd.flush();
        logd.send(&herm_init::logproto::ToLogd::Forget { run: n }, None);
    }
    logd.flush();
    for n in 0..100 {
        assert_eq!(world.lines(&format!("service-{n}")), ["hello"]);
    }
}

#[test]
fn while_all_services_are_quiet_nothing_will_wake_it_up() {
    let world = World::new();
    let mut logd = world.start();
    let runs: Vec<_> = (0..50)
        .map(|n| world.run(n, &format!("service-{n}")))
        .collect();
    for run in &runs {
        logd.open(run);
        // Unfinished lines are no reason either.
        run.write(b"prompt: ");
    }
    logd.flush();
    // The system call it sleeps in, once it does: the fourth argument of epoll_wait is its
    // timeout.
    let path = format!("/proc/{}/syscall", logd.pid());
    let call = loop {
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: {path} can't be read");
            return;
        };
        if !text.starts_with("running") {
            break text;
        }
        thread::yield_now();
    };
    let words: Vec<&str> = call.split_whitespace().collect();
    assert!(
        ["0xffffffff", "0xffffffffffffffff"].contains(&words[4]),
        "it sleeps with a timeout: {call}"
    );
}
