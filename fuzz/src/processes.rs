//! What `/proc` says, and signals by name.

use herm_sys::process::Stat;
use herm_sys::{Pid, Signal};

/// A line of `/proc/<pid>/stat`, whose name its process can choose freely: what is read, written
/// as the kernel does, is read as the same.
pub fn stat(data: &[u8]) {
    let Some(stat) = Stat::parse(data) else {
        return;
    };
    let mut line = format!("{} (", stat.pid.as_raw_pid()).into_bytes();
    line.extend_from_slice(&stat.name);
    line.extend_from_slice(b") ");
    line.push(u8::try_from(stat.state).expect("a state is one byte"));
    let parent = stat.parent.map_or(0, Pid::as_raw_pid);
    let (group, session) = (stat.group, stat.session);
    let (cpu, start, pages) = (stat.cpu_ticks, stat.start_ticks, stat.resident_pages);
    line.extend_from_slice(
        format!(
            " {parent} {group} {session} 0 -1 0 1 2 3 4 {cpu} 0 5 6 20 0 1 0 {start} 7 {pages} 8\n"
        )
        .as_bytes(),
    );
    assert_eq!(Stat::parse(&line), Some(stat));
}

/// A signal as a person or a spec names it.
pub fn signal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(signal) = Signal::parse(&text) else {
        return;
    };
    assert!((1..=Signal::MAX).contains(&signal.number()));
    assert_eq!(Signal::parse(&signal.number().to_string()), Some(signal));
    if let Some(name) = signal.name() {
        assert_eq!(Signal::parse(name), Some(signal));
        assert_eq!(Signal::parse(&format!("sig{name}")), Some(signal));
    }
}
