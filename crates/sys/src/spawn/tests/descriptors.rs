//! A child has the descriptors it was given, under the numbers it was promised, and no other.

use std::collections::BTreeMap;
use std::fs::read_link;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

use super::*;
use crate::rlimit;
use crate::signals::{Signal, kill};

/// A pipe's end, as `/proc` names it.
fn name_of(fd: impl AsFd) -> String {
    read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

/// A process's descriptors, seen from outside, so that looking adds none. One that is closed meanwhile is left out.
fn descriptors_of(pid: Pid) -> BTreeMap<i32, String> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap();
    let described = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number = path.file_name()?.to_str()?.parse().unwrap();
        Some((number, read_link(&path).ok()?.to_str().unwrap().to_owned()))
    });
    described.collect()
}

/// Starts `sleep`, looks, and ends it.
fn descriptors_given(spawner: &mut Spawner, fds: Vec<Handover>) -> BTreeMap<i32, String> {
    let argv = vec![c"sleep".to_owned(), c"60".to_owned()];
    let mut launch = Launch::new(Program::Paths(vec![c"/bin/sleep".into()]), argv);
    launch.fds = fds;
    let pid = spawner.spawn(launch, None).unwrap();
    until_executed(spawner, pid);
    // Its libraries are mapped and closed within moments of the exec; what stays is what it was given.
    let mut seen = descriptors_of(pid);
    while seen
        .values()
        .any(|name| name.contains("ld.so.cache") || name.contains(".so."))
    {
        std::thread::yield_now();
        seen = descriptors_of(pid);
    }
    kill(pid, Signal::KILL).unwrap();
    end_of(spawner, pid);
    seen
}

#[test]
fn a_child_has_only_what_it_was_given_even_beside_five_thousand_others() {
    rlimit::raise_open_files().unwrap();
    let crowd: Vec<OwnedFd> = (0..5000)
        .map_while(|_| rustix::io::dup(std::io::stdout().as_fd()).ok())
        .collect();
    if crowd.len() < 5000 {
        eprintln!(
            "only {} descriptors are allowed here; testing beside those",
            crowd.len()
        );
    }
    // These were made without close-on-exec on purpose: herm's parent may have left it such ones.
    for (way, mut spawner) in every_way() {
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe = name_of(&writer);
        let given = vec![Handover {
            source: writer.into(),
            target: 7,
        }];
        let seen = descriptors_given(&mut spawner, given);
        let null = "/dev/null".to_owned();
        let expected = BTreeMap::from([(0, null.clone()), (1, null.clone()), (2, null), (7, pipe)]);
        assert_eq!(seen, expected, "{way}");
        drop(reader);
    }
}

#[test]
fn numbers_may_overlap_in_any_way() {
    for (way, mut spawner) in every_way() {
        let pipes: Vec<_> = (0..4).map(|_| std::io::pipe().unwrap()).collect();
        let sources: Vec<OwnedFd> = pipes
            .iter()
            .map(|(_, writer)| OwnedFd::from(writer.try_clone().unwrap()))
            .collect();
        let numbers: Vec<i32> = sources.iter().map(AsRawFd::as_raw_fd).collect();
        let names: Vec<String> = sources.iter().map(name_of).collect();
        // Each takes the number of the next: a cycle through all of them.
        let targets: Vec<i32> = (0..4).map(|i| numbers[(i + 1) % 4]).collect();
        let given = sources.into_iter().zip(&targets);
        let given = given
            .map(|(source, target)| Handover {
                source,
                target: *target,
            })
            .collect();
        let mut seen = descriptors_given(&mut spawner, given);
        seen.retain(|number, _| *number > 2);
        let expected: BTreeMap<i32, String> = targets.into_iter().zip(names).collect();
        assert_eq!(seen, expected, "{way}");
    }
}

#[test]
fn a_descriptor_may_keep_its_number_and_be_given_twice() {
    for (way, mut spawner) in every_way() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let name = name_of(&writer);
        let source = OwnedFd::from(writer);
        let twin = source.try_clone().unwrap();
        let number = source.as_raw_fd();
        let given = vec![
            Handover {
                source,
                target: number,
            },
            Handover {
                source: twin,
                target: 1,
            },
        ];
        let seen = descriptors_given(&mut spawner, given);
        assert_eq!(
            (seen.get(&number), seen.get(&1)),
            (Some(&name), Some(&name)),
            "{way}"
        );
    }
}

#[test]
fn our_end_is_closed_as_soon_as_the_child_has_its_own() {
    for (way, mut spawner) in every_way() {
        let mut launch = shell("read line");
        let (input, mut input_writer) = std::io::pipe().unwrap();
        launch.fds.push(Handover {
            source: input.into(),
            target: 0,
        });
        let mut reader = pipe_to(&mut launch, 1);
        let pid = spawner.spawn(launch, None).unwrap();
        until_executed(&mut spawner, pid);
        input_writer.write_all(b"go\n").unwrap();
        // End of file comes only if nobody holds the other end any more, us included, before the child is reaped.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{way}");
        assert_eq!(end_of(&mut spawner, pid), (Exit::Code(0), None));
    }
}

#[test]
fn an_open_file_is_executed_whatever_its_name_means_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    std::fs::write(&path, "#!/bin/sh\necho script\n").unwrap();
    let script = std::fs::File::open(&path).unwrap();
    rustix::fs::fchmod(&script, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    std::fs::remove_file(&path).unwrap();
    for (way, mut spawner) in every_way() {
        let file = OwnedFd::from(script.try_clone().unwrap());
        let image = Program::Descriptor {
            file,
            script_at: Some(9),
        };
        assert_eq!(
            output_of(&mut spawner, Launch::new(image, vec![c"s".into()])),
            "script\n",
            "{way}"
        );

        let file = OwnedFd::from(std::fs::File::open("/bin/echo").unwrap());
        let image = Program::Descriptor {
            file,
            script_at: None,
        };
        let launch = Launch::new(image, vec![c"echo".into(), c"binary".into()]);
        assert_eq!(output_of(&mut spawner, launch), "binary\n", "{way}");
    }
}
