//! Chapter 10: several containers on one home. One runs its gateways, the others show them and hand
//! verbs on.

use std::path::{Path, PathBuf};
use std::process::Command;

use herm_e2e::{Container, Finished, Image, Options, Volume, run, wait_until};

const HOME: &str = "/opt/data";

fn options(volume: &Volume) -> Options {
    Container::of(&Image::herm_dev())
        .volume(volume, HOME)
        .command(&["sleep", "infinity"])
}

fn idle(volume: &Volume) -> Container {
    let container = options(volume).run();
    container.wait_booted();
    container
}

/// A container that runs the gateway `alpha`, and another one on the same home.
fn two(volume: &Volume) -> (Container, Container) {
    let owner = idle(volume);
    owner
        .exec(&["herm", "profile", "create", "alpha"])
        .succeeds();
    owner
        .exec(&["herm", "-p", "alpha", "gateway", "start"])
        .succeeds();
    let other = idle(volume);
    other.wait_states(&[("gateway-alpha", "remote"), ("gateway-default", "remote")]);
    (owner, other)
}

fn instance(container: &Container) -> String {
    let status = container.exec(&["herm", "status", "--json"]).json();
    status["instance"].as_str().expect("an instance").to_owned()
}

fn gateway(container: &Container, words: &[&str]) -> Finished {
    container.exec(&[&["herm", "-p", "alpha", "gateway"], words].concat())
}

/// Whether a process of a gateway is there, whatever anybody says.
fn has_gateway(container: &Container) -> bool {
    let processes = container.processes("");
    processes
        .iter()
        .any(|(_, command)| command.contains("gateway run"))
}

fn desired(container: &Container) -> String {
    let record = container.exec(&["cat", "/opt/data/profiles/alpha/.herm/desired.json"]);
    record.json()["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn l35_two_containers_on_one_home_run_each_gateway_once() {
    let volume = Volume::new();
    let (owner, other) = two(&volume);
    assert!(has_gateway(&owner) && !has_gateway(&other));
    assert_eq!(
        other.service_field("gateway-alpha", "owner"),
        instance(&owner)
    );
    let why = other.exec(&["herm", "why", "alpha"]);
    assert!(why.succeeds().contains(&instance(&owner)), "{why}");
    // The one that looks decides nothing at its boot, and writes no log of it (L61).
    let boots = owner.boot_log();
    assert_eq!(boots.matches("profile=default ").count(), 1, "{boots}");
    let kept = owner.sh("ls /opt/data/logs/gateways/alpha");
    assert!(kept.succeeds().contains("current"), "{kept}");
    assert_eq!(owner.service_field("gateway-alpha", "restarts"), 0);
}

#[test]
fn l73_verbs_given_in_the_other_container_reach_the_owner_and_their_answer_comes_back() {
    let volume = Volume::new();
    let (owner, other) = two(&volume);
    gateway(&other, &["stop"]).succeeds();
    owner.wait_states(&[("gateway-alpha", "down")]);
    assert_eq!(desired(&owner), "stopped");
    let started = gateway(&other, &["start", "--json"]).json();
    assert_eq!(
        (&started["state"], &started["owner"]),
        (&"running".into(), &instance(&owner).into())
    );
    assert!(has_gateway(&owner) && !has_gateway(&other));
    gateway(&other, &["restart", "--no-wait"]).succeeds();
    // What the owner refuses is refused here, in its words.
    owner
        .exec_with_input(
            &["sh", "-c", "cat > /opt/data/profiles/alpha/.env"],
            b"API_SERVER_PORT=99999999\n",
        )
        .succeeds();
    let refused = gateway(&other, &["restart"]);
    refused.exits(1);
    assert!(refused.stderr.contains(&instance(&owner)), "{refused}");
    // The profile goes and is renamed by whoever runs its gateway.
    other
        .exec(&["herm", "profile", "rename", "alpha", "beta"])
        .succeeds();
    assert!(owner.service("gateway-beta").is_some() && owner.service("gateway-alpha").is_none());
    other
        .exec(&["herm", "profile", "delete", "-y", "beta"])
        .succeeds();
    assert!(owner.service("gateway-beta").is_none() && other.service("gateway-beta").is_none());
}

/// Whoever goes round the command line is refused by PID 1, with the reason.
#[test]
fn l35_no_request_starts_a_gateway_where_another_instance_runs_it() {
    let volume = Volume::new();
    let (owner, other) = two(&volume);
    for verb in ["start", "restart", "once"] {
        let request = serde_json::json!({"op": verb, "name": "gateway-alpha", "wait": true});
        let reply = other.control(10_000, &request);
        let message = reply["err"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(&instance(&owner)), "{reply}");
    }
    assert!(!has_gateway(&other));
}

#[test]
fn l35_whoever_is_left_takes_over_when_the_owner_is_killed_and_keeps_it() {
    let volume = Volume::new();
    let (first, second) = two(&volume);
    first.kill("KILL");
    first.wait();
    second.wait_states(&[("gateway-alpha", "running"), ("gateway-default", "down")]);
    first.start();
    first.wait_booted();
    first.wait_states(&[("gateway-alpha", "remote")]);
    assert!(has_gateway(&second) && !has_gateway(&first));
    // A restart of the owner: whoever is quicker runs them then, and the other one does not.
    second.restart();
    second.wait_booted();
    let state = |container: &Container| container.service_field("gateway-alpha", "state");
    wait_until("one runs it and the other one knows", || {
        let states = [state(&first), state(&second)];
        states.contains(&"running".into()) && states.contains(&"remote".into())
    });
    assert_ne!(has_gateway(&first), has_gateway(&second));
}

/// Thirty seconds are for those of whom nothing is known: a container that was killed is known to be
/// dead, so what it waited for is not in its log.
#[test]
fn l35_a_killed_container_that_starts_again_waits_for_nobody() {
    let volume = Volume::new();
    let container = idle(&volume);
    container.exec(&["herm", "gateway", "start"]).succeeds();
    for _ in 0..3 {
        container.kill("KILL");
        container.wait();
        container.start();
        container.wait_states(&[("gateway-default", "running")]);
        // It was never anybody else's to wait for.
        assert!(!container.logs().contains("runs the gateways of this home"));
    }
    // What is of no use any more is swept while the gateways start.
    wait_until("the last epoch is the only one", || {
        let epochs = container.exec(&["ls", "/opt/data/.herm/epochs"]);
        epochs.succeeds() == "4"
    });
    let lease = instance(&container);
    wait_until("the last lease is the only one", || {
        let leases = container.exec(&["ls", "/opt/data/.herm/instances"]);
        lease == leases.succeeds()
    });
}

/// A frozen owner can't notice anything. The overlap ends with the first thing it does again. (The
/// built-in gateway holds a lock besides, so this one is another.)
#[test]
fn l35_an_owner_that_was_frozen_for_too_long_stops_its_gateways_when_it_thaws() {
    let volume = Volume::new();
    let command = "[gateway]\ncommand = [\"sleep\", \"98765\"]\n";
    let writes = options(&volume)
        .flag("--entrypoint=sh")
        .flag("--user=10000:10000")
        .command(&["-c", "cat > /opt/data/herm.toml"])
        .run_to_end_with_input(command.as_bytes());
    writes.succeeds();
    let (frozen, other) = two(&volume);
    let has_gateway = |container: &Container| !container.processes("sleep 98765").is_empty();
    run(Command::new("docker").args(["pause", frozen.name()])).succeeds();
    other.wait_states(&[("gateway-alpha", "running")]);
    run(Command::new("docker").args(["unpause", frozen.name()])).succeeds();
    frozen.wait_states(&[("gateway-alpha", "remote")]);
    wait_until("its gateway has stopped", || !has_gateway(&frozen));
    assert!(has_gateway(&other));
    // Whichever it sees first when it thaws: that its time is over, or who has taken over.
    let logs = frozen.logs();
    let noticed = [
        "lease: it could not be renewed in time",
        "runs the gateways of this home",
    ];
    assert!(noticed.iter().any(|words| logs.contains(words)), "{logs}");
    assert_eq!(
        frozen.service_field("gateway-alpha", "owner"),
        instance(&other)
    );
    // What it was told while nobody knew is still what counts.
    assert_eq!(desired(&other), "running");
}

#[test]
fn a_frozen_owner_that_is_asked_for_something_is_named() {
    let volume = Volume::new();
    let (frozen, other) = two(&volume);
    let name = instance(&frozen);
    run(Command::new("docker").args(["pause", frozen.name()])).succeeds();
    let asked = gateway(&other, &["stop"]);
    run(Command::new("docker").args(["unpause", frozen.name()])).succeeds();
    asked.exits(124);
    let host = frozen.inspect(".Config.Hostname");
    let host = host.as_str().unwrap_or_default();
    assert!(
        asked.stderr.contains(&name) && asked.stderr.contains(host),
        "{asked}"
    );
    assert_eq!(
        desired(&other),
        "running",
        "a request that nobody took is withdrawn"
    );
}

#[test]
fn l35_a_keeper_that_dies_alone_loses_nothing_to_another_instance() {
    let volume = Volume::new();
    let (owner, other) = two(&volume);
    let keeper = owner.service_field("keeper", "pid");
    let gateway = owner.service_field("gateway-alpha", "pid");
    owner
        .exec(&["sh", "-c", &format!("kill -KILL {keeper}")])
        .succeeds();
    wait_until("the keeper is back", || {
        let service = owner.service("keeper").unwrap_or_default();
        service["state"] == "running" && service["pid"] != keeper
    });
    other.exec(&["herm", "reconcile"]).succeeds();
    owner.exec(&["herm", "reconcile"]).succeeds();
    assert_eq!(owner.service_field("gateway-alpha", "pid"), gateway);
    assert_eq!(other.service_field("gateway-alpha", "state"), "remote");
}

#[test]
fn l36_a_container_with_the_role_of_a_dashboard_owns_nothing() {
    let volume = Volume::new();
    let dashboard = options(&volume).env("HERM_ROLE", "dashboard").run();
    dashboard.wait_booted();
    dashboard.wait_states(&[("gateway-default", "disabled")]);
    let refused = dashboard.exec(&["herm", "gateway", "start"]);
    refused.exits(1);
    assert!(refused.stderr.contains("role is `dashboard`"), "{refused}");
    let owner = idle(&volume);
    dashboard.wait_states(&[("gateway-default", "remote")]);
    dashboard.exec(&["herm", "gateway", "start"]).succeeds();
    owner.wait_states(&[("gateway-default", "running")]);
    owner.stop();
    dashboard.wait_states(&[("gateway-default", "disabled")]);
    assert!(!has_gateway(&dashboard));
}

#[test]
fn a_home_that_takes_no_writes_is_run_without_a_lease_and_says_so() {
    let volume = Volume::new();
    let owner = idle(&volume);
    owner.exec(&["herm", "gateway", "start"]).succeeds();
    let read_only = |volume: &Volume| {
        Container::of(&Image::herm_dev())
            .flag(&format!("--volume={}:{HOME}:ro", volume.name()))
            .command(&["sleep", "infinity"])
            .run()
    };
    let looker = read_only(&volume);
    looker.wait_states(&[("gateway-default", "remote")]);
    drop(looker);
    drop(owner);
    let alone = read_only(&volume);
    alone.wait_states(&[("gateway-default", "running")]);
    assert!(alone.logs().contains("takes no lease"), "{}", alone.logs());
}

/// Two verbs at once, one of them through the home: the record and what runs agree, and nobody is
/// told something else.
#[test]
fn orders_of_two_containers_at_once_leave_the_record_and_the_gateway_in_agreement() {
    let volume = Volume::new();
    let (owner, other) = two(&volume);
    for _ in 0..4 {
        let (stopped, started) = std::thread::scope(|scope| {
            let stop = scope.spawn(|| gateway(&owner, &["stop"]));
            let start = scope.spawn(|| gateway(&other, &["start"]));
            (stop.join().expect("stop"), start.join().expect("start"))
        });
        let state = if desired(&owner) == "running" {
            "running"
        } else {
            "down"
        };
        owner.wait_states(&[("gateway-alpha", state)]);
        for (asked, wanted) in [(&stopped, "down"), (&started, "running")] {
            let overridden = format!("{}{}", asked.stdout, asked.stderr);
            assert!(
                asked.is_success() || (state != wanted && overridden.contains("later order")),
                "{state}: {asked}"
            );
        }
    }
}

#[test]
fn l05_a_corrupt_record_is_set_aside_by_the_owner_and_only_once() {
    let volume = Volume::new();
    let (owner, other) = two(&volume);
    gateway(&owner, &["stop"]).succeeds();
    owner
        .sh("printf '{\"sta' > /opt/data/profiles/alpha/.herm/desired.json")
        .succeeds();
    for container in [&other, &owner, &other] {
        container.exec(&["herm", "reconcile"]).succeeds();
    }
    let aside = owner.sh("ls /opt/data/profiles/alpha/.herm | grep -c corrupt-");
    assert_eq!(aside.succeeds(), "1");
    assert_eq!(other.service_field("gateway-alpha", "state"), "remote");
}

/// A directory of the host behind a FUSE file system: nobody tells of its changes, and locks on it
/// prove nothing.
struct Fuse {
    base: PathBuf,
}

impl Fuse {
    /// `None` where this machine has no FUSE, which is said.
    fn mount() -> Option<Self> {
        if !Path::new("/dev/fuse").exists() {
            println!("skipped: there is no /dev/fuse here");
            return None;
        }
        let unique = Volume::new();
        let base = std::env::temp_dir().join(format!("herm-fuse-{}", unique.name()));
        for dir in ["behind", "home"] {
            std::fs::create_dir_all(base.join(dir)).expect("a directory");
        }
        std::os::unix::fs::chown(base.join("behind"), Some(10_000), Some(10_000)).expect("chown");
        let fuse = Self { base };
        run(Command::new("bindfs")
            .args(["-o", "allow_other"])
            .args([fuse.base.join("behind"), fuse.home()]))
        .succeeds();
        Some(fuse)
    }

    fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    fn container(&self) -> Container {
        let container = Container::of(&Image::herm_dev())
            .flag(&format!("--volume={}:{HOME}", self.home().display()))
            .command(&["sleep", "infinity"])
            .run();
        container.wait_booted();
        container
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.home()));
        let _ = std::fs::remove_dir_all(self.base.join("behind"));
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

#[test]
fn l35_on_fuse_a_profile_is_found_without_notice_and_a_dead_owner_by_its_silence() {
    let Some(fuse) = Fuse::mount() else { return };
    let owner = fuse.container();
    let other = fuse.container();
    other.wait_states(&[("gateway-default", "remote")]);
    // Made behind the back of the file system, as another machine would.
    let profile = fuse.base.join("behind/profiles/alpha");
    std::fs::create_dir_all(&profile).expect("a profile");
    std::fs::write(profile.join("SOUL.md"), "x").expect("a profile");
    for dir in [
        profile.parent().expect("profiles"),
        &profile,
        &profile.join("SOUL.md"),
    ] {
        std::os::unix::fs::chown(dir, Some(10_000), Some(10_000)).expect("chown");
    }
    owner.wait_states(&[("gateway-alpha", "down")]);
    gateway(&other, &["start"]).succeeds();
    assert!(has_gateway(&owner));
    owner.kill("KILL");
    owner.wait();
    other.wait_states(&[("gateway-alpha", "running")]);
}
