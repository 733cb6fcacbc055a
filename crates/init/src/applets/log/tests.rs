//! Lines through a script, into a directory of the test's.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

use herm_testkit::counted::counted;

fn logger(script: &str) -> Logger {
    let words: Vec<&str> = script.split(' ').collect();
    let steps = parse(&words).unwrap();
    let mut sinks = Vec::new();
    for step in &steps {
        if let Step::Act(action) = step
            && let Target::Directory(path, keep) = &action.target
        {
            let path = std::ffi::OsStr::from_bytes(path);
            let directory = Directory::open(Path::new(path), keep.clone()).unwrap();
            sinks.push(Sink::Directory(Box::new(directory)));
        }
    }
    Logger {
        steps,
        sinks,
        line_max: 50,
        zone: Zone::local(),
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn lines_go_where_they_are_selected_for() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    let mut logger = logger(&format!("- +^x pX {} f {}", a.display(), b.display()));
    let mut text = b"x1\ny2\0x3\npart".to_vec();
    logger.take_lines(&mut text);
    assert_eq!(text, b"part");
    let read = |dir: &Path| std::fs::read_to_string(dir.join("current")).unwrap();
    assert_eq!(
        (read(&a).as_str(), read(&b).as_str()),
        ("X x1\nX x3\n", "X y2\n")
    );
}

#[test]
fn a_long_line_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a");
    let mut logger = logger(&dir.display().to_string());
    logger.take_lines(&mut [&[b'a'; 120][..], b"\n"].concat());
    let text = std::fs::read_to_string(dir.join("current")).unwrap();
    let lengths: Vec<usize> = text.lines().map(str::len).collect();
    assert_eq!(lengths, [50, 50, 20]);
}

#[test]
fn current_becomes_an_archive_at_its_size_and_the_oldest_go() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a");
    let mut logger = logger(&format!("n2 s4096 l0 {}", dir.display()));
    let lines: String = (0..1000)
        .map(|n| format!("{n:09} {n:09}\n"))
        .collect::<Vec<_>>()
        .concat();
    logger.take_lines(&mut lines.clone().into_bytes());
    let names = files(&dir);
    let archives: Vec<&String> = names.iter().filter(|name| name.starts_with('@')).collect();
    assert_eq!(archives.len(), 2);
    let mut kept = String::new();
    for name in archives {
        assert!(
            name.len() == 27 && name.as_bytes().ends_with(b".s"),
            "{name}"
        );
        let path = dir.join(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o744);
        kept += &std::fs::read_to_string(path).unwrap();
    }
    kept += &std::fs::read_to_string(dir.join("current")).unwrap();
    assert!(
        lines.ends_with(&kept) && kept.len() > 2 * 4000,
        "{}",
        kept.len()
    );
}

#[test]
fn what_an_interrupted_writer_left_is_kept_apart() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a");
    let script = dir.display().to_string();
    let mut first = logger(&script);
    first.take_lines(&mut b"one\n".to_vec());
    if let Some(Sink::Directory(directory)) = first.sinks.first_mut() {
        directory.close();
    }
    drop(first);
    let mut second = logger(&script);
    second.take_lines(&mut b"two\n".to_vec());
    drop(second);
    assert_eq!(
        std::fs::read_to_string(dir.join("current")).unwrap(),
        "one\ntwo\n"
    );
    drop(logger(&script));
    let names = files(&dir);
    assert!(
        names
            .iter()
            .any(|name| name.starts_with('@') && name.as_bytes().ends_with(b".u")),
        "{names:?}"
    );
    assert_eq!(std::fs::read_to_string(dir.join("current")).unwrap(), "");
}

/// Its instructions are counted (`cargo xtask counts`).
#[test]
fn a_megabyte_of_lines_is_stamped_and_kept() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a");
    let mut logger = logger(&format!("t s16777215 {}", dir.display()));
    logger.line_max = LINE_MAX;
    let line = format!("{:a<119}\n", "");
    let chunk = line.repeat(CHUNK / line.len());
    let chunks = 1_000_000 / chunk.len();
    let mut buffer = Vec::with_capacity(CHUNK);
    for _ in 0..chunks {
        buffer.extend_from_slice(chunk.as_bytes());
        counted(|| logger.take_lines(&mut buffer));
    }
    counted(|| logger.flush());
    let kept = std::fs::metadata(dir.join("current")).unwrap().len();
    let stamped = chunk.len() + CHUNK / line.len() * (Tain::LABEL + 1);
    assert_eq!(kept, (chunks * stamped) as u64);
}
