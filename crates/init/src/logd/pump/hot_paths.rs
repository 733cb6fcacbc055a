//! Paths whose instructions are counted (`cargo xtask counts`).

use std::io;
use std::os::fd::AsFd as _;
use std::time::Instant;

use herm_testkit::counted::counted;
use rustix::pipe::{PipeFlags, pipe_with};

use super::{CHUNK_BYTES, Progress, Pump, Run, Sinks};
use crate::logd::directories::Directories;
use crate::logd::directory::Now;
use crate::logd::hold::Hold;
use crate::logd::outbox::Outbox;
use crate::logd::stdout::Forwarder;
use crate::logproto::{Forward, Limits, Stats, Target};

/// Lines of 120 bytes, as many as fit into a pipe.
fn lines() -> Vec<u8> {
    let line = format!("{:a<119}\n", "");
    line.repeat(CHUNK_BYTES / line.len()).into_bytes()
}

#[test]
fn a_megabyte_of_lines_is_logged() {
    let home = tempfile::tempdir().unwrap();
    let mut directories = Directories::new(8);
    let target = Target {
        base: home.path().to_owned(),
        dir: "svc".into(),
    };
    let key = directories.join(target, Limits::default(), false);
    let stdio = || io::stderr().as_fd().try_clone_to_owned().unwrap();
    let mut sinks = Sinks {
        hold: Hold::adopt(None),
        directories,
        forwarder: Forwarder::start(stdio(), stdio()).unwrap(),
        outbox: Outbox::default(),
    };
    let (pipe, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let mut run = Run {
        id: 1,
        service: "svc".to_owned(),
        pipe,
        directory: Some(key),
        forward: Forward::None,
        stats: Stats::default(),
        unteeable: false,
    };
    let now = Now {
        wall: 1_795_202_464_000_000,
        steady: Instant::now(),
    };
    let mut pump = Pump::new().unwrap();
    let lines = lines();
    let chunks = 1_000_000 / lines.len();
    for _ in 0..chunks {
        let written = rustix::io::write(&writer, &lines);
        assert_eq!(written, Ok(lines.len()), "the pipe is smaller than usual");
        counted(|| while pump.step(&mut run, &mut sinks, now) == Progress::More {});
    }
    assert_eq!(run.stats.bytes, (chunks * lines.len()) as u64);
}
