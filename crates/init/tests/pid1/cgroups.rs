//! Services in control groups of their own. Needs root and a cgroup v2 hierarchy that may be written;
//! elsewhere these tests say that they were skipped.

use std::path::PathBuf;

use herm_sys::cgroup::CgroupRoot;
use herm_wire::State;

use crate::world::{World, kill, lives, shell, sleeper};

/// A group that is delegated to the supervisor that runs in it, as systemd would with `Delegate=yes`.
struct Delegated {
    path: PathBuf,
    world: Option<World>,
}

impl Delegated {
    fn new(name: &str) -> Option<Self> {
        let Some(root) = CgroupRoot::detect() else {
            eprintln!("skipped: no writable cgroup v2 here");
            return None;
        };
        let path = root
            .path()
            .join(format!("test-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        if let Err(error) = rustix::fs::setxattr(&path, "user.delegate", b"1", flags) {
            std::fs::remove_dir(&path).unwrap();
            eprintln!("skipped: a group can't be marked as delegated here: {error}");
            return None;
        }
        let enter = format!("echo 0 > {}/cgroup.procs && exec \"$@\"", path.display());
        let world = World::through(&["/bin/sh", "-c", &enter, "sh"], &[], &[]);
        let world = Some(world);
        Some(Self { path, world })
    }

    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    /// The groups in it.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.path).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let said = self.world().said();
        drop(self.world.take());
        if !std::thread::panicking() {
            let groups = self.groups();
            assert!(groups.is_empty(), "{groups:?} are left\n{said}");
        }
        // The supervisor's own process may be in it for a moment after it was waited for.
        let began = std::time::Instant::now();
        while std::fs::remove_dir(&self.path).is_err() && began.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
    }
}

/// A service with a process that has nothing of it any more: no session, no parent, no variable, no
/// descriptor.
fn with_a_fugitive(world: &World, name: &str) -> herm_wire::ServiceSpec {
    let file = world.dir.path().join(name);
    let script = format!(
        "env -i /usr/bin/setsid sh -c 'sleep 1000 >/dev/null 2>&1 </dev/null & echo $! > {file}.tmp; \
         mv {file}.tmp {file}'; exec sleep 2000",
        file = file.display()
    );
    shell(name, &script)
}

fn fugitive(world: &World, name: &str) -> u32 {
    let file = world.dir.path().join(name);
    world.until("the fugitive is out", || {
        let number = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
        std::fs::remove_file(&file).unwrap();
        Some(number)
    })
}

#[test]
fn l45_what_shakes_off_everything_but_its_group_goes_with_its_service() {
    let Some(delegated) = Delegated::new("stop") else {
        return;
    };
    let world = delegated.world();
    let mut client = world.booted();
    client.register(with_a_fugitive(world, "a")).unwrap();
    client.start("a").unwrap();
    let first = fugitive(world, "a");
    assert!(lives(first));
    client.restart("a").unwrap();
    assert!(!lives(first), "{}", world.said());
    let second = fugitive(world, "a");
    client.stop("a").unwrap();
    assert!(!lives(second), "{}", world.said());
}

#[test]
fn after_a_crash_nobody_of_the_group_is_left_when_the_next_run_starts() {
    let Some(delegated) = Delegated::new("crash") else {
        return;
    };
    let world = delegated.world();
    let mut client = world.booted();
    client.register(with_a_fugitive(world, "a")).unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    let first = fugitive(world, "a");
    kill("KILL", pid);
    let _second = fugitive(world, "a");
    assert!(!lives(first), "{}", world.said());
}

#[test]
fn groups_and_their_members_are_known_through_a_reexecution() {
    let Some(delegated) = Delegated::new("reexec") else {
        return;
    };
    let world = delegated.world();
    let mut client = world.booted();
    client.register(with_a_fugitive(world, "a")).unwrap();
    client.start("a").unwrap();
    let first = fugitive(world, "a");
    kill("60", world.pid());
    world.until_said("resumed with");
    let mut client = world.connect();
    assert!(lives(first));
    client.stop("a").unwrap();
    assert!(!lives(first), "{}", world.said());
}

#[test]
fn what_a_service_uses_is_measured() {
    let Some(delegated) = Delegated::new("measure") else {
        return;
    };
    let world = delegated.world();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let view = client.start("a").unwrap();
    assert!(view.memory_bytes.is_none(), "only who asks is told");
    let view = client.service("a");
    assert!(view.memory_bytes.unwrap() > 0);
    assert!(view.cpu_percent.is_some());
    let all = client.services();
    assert!(all.iter().all(|view| view.memory_bytes.is_some()));
}

#[test]
fn a_service_that_can_not_start_leaves_no_group() {
    let Some(delegated) = Delegated::new("fail") else {
        return;
    };
    let world = delegated.world();
    let mut client = world.booted();
    let mut spec = sleeper("a");
    spec.argv = vec!["/nonexistent".to_owned()];
    client.register(spec).unwrap();
    world.connect().until_state("a", State::Backoff);
    client.stop("a").unwrap();
    assert!(delegated.groups().is_empty());
}
