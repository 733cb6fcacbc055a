//! `s6-log` as a process, ours and, where Debian's package `s6` is installed, the genuine one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const GENUINE: &str = "/usr/bin/s6-log";

/// Runs a script on a text, in a directory of its own; what is in the log directory `d` then,
/// archives by their number instead of their time, and the exit code.
fn run(program: &Path, script: &[&str], text: &[u8]) -> String {
    let root = tempfile::tempdir().unwrap();
    let mut child = Command::new(program)
        .args(script)
        .current_dir(root.path())
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without reading.
    let _ = stdin.write_all(text);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let mut seen = format!(
        "code {:?}\nstdout {}\n",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout)
    );
    let mut names: Vec<PathBuf> = std::fs::read_dir(root.path().join("d"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    for (number, path) in names.iter().enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let shown = if name.starts_with('@') {
            format!("archive {number} {}", &name[25..])
        } else {
            name.to_owned()
        };
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let content = std::fs::read(path).unwrap();
        let content = String::from_utf8_lossy(&content);
        writeln!(seen, "{shown} {mode:o} {content}").unwrap();
    }
    seen
}

fn scripts() -> Vec<(Vec<&'static str>, Vec<u8>)> {
    vec![
        (vec!["./d"], b"one\ntwo\0three\npart".to_vec()),
        (vec!["1"], b"a\nb\n".to_vec()),
        (
            vec!["-", "+^a", "pX", "1", "f", "./d"],
            b"a1\nb2\na3\n".to_vec(),
        ),
        (vec!["-l", "50", "1"], [&[b'x'; 130][..], b"\n"].concat()),
        (vec!["+x"], Vec::new()),
        (vec!["e", "1"], Vec::new()),
        (vec!["s4096", "l3000", "./d"], Vec::new()),
        (vec!["-(^[ab]|c{2,3}$)", "1"], b"a\nx\nbcc\nxcc\n".to_vec()),
        (vec!["^7", "=d2", "1"], b"status\n".to_vec()),
    ]
}

#[test]
fn it_does_what_the_genuine_one_does() {
    if !Path::new(GENUINE).exists() {
        println!("Debian's package s6 is not installed: nothing to compare with");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let ours = root.path().join("s6-log");
    symlink(env!("CARGO_BIN_EXE_herm-init"), &ours).unwrap();
    for (script, text) in scripts() {
        let genuine = run(Path::new(GENUINE), &script, &text);
        assert_eq!(run(&ours, &script, &text), genuine, "{script:?}");
    }
}

#[test]
fn a_processor_reads_its_state_and_writes_the_next() {
    let root = tempfile::tempdir().unwrap();
    let ours = root.path().join("s6-log");
    symlink(env!("CARGO_BIN_EXE_herm-init"), &ours).unwrap();
    let text: String = (0..900)
        .map(|n| format!("line {n:08}\n"))
        .collect::<Vec<_>>()
        .concat();
    let script = [
        "s4096",
        "l0",
        "?tr a-z A-Z; cat <&4 >&5; echo seen >&5",
        "./d",
    ];
    let seen = run(&ours, &script, text.as_bytes());
    assert_eq!(seen.matches(".s 744 LINE").count(), 3, "{seen}");
    assert!(seen.contains("state 644 seen\nseen\nseen\n"), "{seen}");
    assert!(seen.contains("current 744 line"), "{seen}");
}
