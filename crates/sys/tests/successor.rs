//! A process becomes itself again and loses nothing: its memory file, its children, its signals. It happens to a whole
//! process, so the test starts itself again for it, twice.

use std::env;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use herm_sys::exec::{self, Image};
use herm_sys::memfd::SharedMemory;
use herm_sys::reap::{self, Exit};
use herm_sys::signals::{self, Signal, SignalFd, SignalSet};
use herm_sys::spawn::{Launch, Program, Spawner};
use herm_sys::{Pid, process};

/// Set for the later starts: `before`, or the number of the memory file's descriptor.
const PART: &str = "HERM_TEST_SUCCESSOR";
fn shell(script: &str) -> Launch {
    let argv = ["sh", "-c", script]
        .map(|word| CString::new(word).unwrap())
        .to_vec();
    let mut launch = Launch::new(Program::Paths(vec![c"/bin/sh".into()]), argv);
    launch.env = vec![c"PATH=/usr/bin:/bin".into()];
    launch
}

fn main() {
    match env::var(PART) {
        Ok(part) if part == "before" => before(),
        Ok(number) => after(number.parse().unwrap()),
        Err(_) => {
            let again = Command::new(env::current_exe().unwrap())
                .env(PART, "before")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&again.stderr);
            assert!(
                again.status.success() && said.contains("adopted"),
                "{}: {said}",
                again.status
            );
            println!(
                "a successor adopts the children, orphans and signals of the process it was ... ok"
            );
        }
    }
}

fn before() {
    process::become_subreaper().unwrap();
    signals::set_blocked(SignalSet::EMPTY.with(Signal::USR1));
    signals::kill(rustix::process::getpid(), Signal::USR1).unwrap();
    let memory = SharedMemory::create("records", 4096).unwrap();
    let word = memory.pid_word(0).unwrap();
    let mut spawner = Spawner::new().unwrap();
    // The orphan waits until its parent has gone, and its exit is told from the child's.
    let child = spawner
        .spawn(shell("(sleep 0.1; exit 9) & exit 8"), Some(&word))
        .unwrap();
    assert_eq!(word.get(), child.as_raw_pid());
    let environment = format!("{PART}={}", memory.as_fd().as_raw_fd());
    let argv = [c"successor".to_owned()];
    let image = exec::own_image().unwrap();
    let keep = [memory.as_fd()];
    let errno = exec::replace(
        Image::File(image.as_fd()),
        &argv,
        &[CString::new(environment).unwrap()],
        &keep,
    );
    panic!("could not become myself: {errno}");
}

fn after(number: i32) {
    let memory = SharedMemory::adopt(exec::take_inherited(number).unwrap()).unwrap();
    let child = Pid::from_raw(memory.pid_word(0).unwrap().get()).unwrap();
    let mut ends = Vec::new();
    while reap::has_children() {
        match reap::reap_next().unwrap() {
            Some(end) => ends.push(end),
            None => std::thread::yield_now(),
        }
    }
    assert!(ends.contains(&(child, Exit::Code(8))), "{ends:?}");
    assert!(
        ends.iter()
            .any(|(pid, exit)| *pid != child && *exit == Exit::Code(9)),
        "{ends:?}"
    );
    let pending = SignalFd::new(SignalSet::EMPTY.with(Signal::USR1)).unwrap();
    assert_eq!(
        pending.read().unwrap().map(|received| received.signal),
        Some(Signal::USR1)
    );
    eprintln!("adopted");
}
