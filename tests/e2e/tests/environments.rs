//! Chapter 3, its last paragraph: every container there is. In each herm comes up, does all that
//! still makes sense, says what doesn't, and the main program's exit code is the container's.

use herm_e2e::{Container, Finished, Image, Options, Volume, docker, wait_until};

/// Tells what the boot made of its surroundings, step by step: each line is a command's exit code
/// and what it was. Ends with a code of its own.
const TOUR: &str = r#"
step() { name=$1; shift; out=$("$@" 2>&1); echo "$name=$? $out" | head -n 1; }
echo "id=$(id -u):$(id -g)"
step wait herm service wait gateway-default registered --timeout 60
step status herm status
step create herm profile create writer
step start herm -p writer gateway start
step why herm why writer
step log sh -c 'herm logs writer | head -n 1'
exit 7"#;

fn herm() -> Options {
    Container::of(&Image::herm_dev()).env("HERM_LOG_STDOUT", "none")
}

fn tour(options: &Options) -> Finished {
    options.clone().command(&["sh", "-c", TOUR]).run_to_end()
}

/// Everything works: as this user, to the gateway that runs and the log that is kept.
#[track_caller]
fn assert_whole(options: &Options, id: &str) -> Finished {
    let run = tour(options);
    let told = run.exits(7);
    assert!(told.contains(&format!("id={id}\n")), "{run}");
    for step in ["wait", "status", "create", "start", "why", "log"] {
        assert!(told.contains(&format!("\n{step}=0 ")), "{step}: {run}");
    }
    run
}

/// The home can't be used; all that needs none works, and the reason is told.
#[track_caller]
fn assert_without_home(options: &Options, id: &str, reason: &str) -> Finished {
    let run = tour(options);
    let told = run.exits(7);
    assert!(told.contains(&format!("id={id}\n")), "{run}");
    for step in ["wait", "status"] {
        assert!(told.contains(&format!("\n{step}=0 ")), "{step}: {run}");
    }
    assert!(
        ["\ncreate=1 herm: ", "\ncreate=5 herm: "]
            .iter()
            .any(|line| told.contains(line)),
        "{run}"
    );
    let words = format!("{}{}", run.stdout, run.stderr);
    assert!(words.contains(reason), "no {reason:?}: {run}");
    run
}

/// A volume that belongs to this user and group, with this mode.
fn volume_of(owner: &str, mode: &str) -> Volume {
    let volume = Volume::new();
    Container::of(&Image::herm_dev())
        .volume(&volume, "/v")
        .flag("--entrypoint=sh")
        .command(&[
            "-c", // Docker gives an empty volume the owner that the image has there.
            "touch /v/kept && chown -R $0 /v && chmod $1 /v",
            owner,
            mode,
        ])
        .run_to_end()
        .succeeds();
    volume
}

const ARBITRARY: &str = "--user=1234:5678";
const RESTRICTED: [&str; 3] = [
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--read-only",
];

fn flags(options: Options, flags: &[&str]) -> Options {
    flags
        .iter()
        .fold(options, |options, flag| options.flag(flag))
}

#[test]
fn plain_docker() {
    assert_whole(&herm(), "10000:10000");
}

#[test]
fn l28_an_arbitrary_user_without_an_entry_in_passwd() {
    let volume = volume_of("1234:5678", "700");
    assert_whole(
        &herm().flag(ARBITRARY).volume(&volume, "/opt/data"),
        "1234:5678",
    );
    // The image's own volume is another user's.
    let run = assert_without_home(&herm().flag(ARBITRARY), "1234:5678", "/opt/data");
    assert!(run.stderr.contains("mount a volume"), "no remedy: {run}");
}

/// A home of somebody else's doesn't tell whether anybody listens in it.
#[test]
fn l28_the_supervisor_of_an_arbitrary_user_is_found_though_the_home_is_closed_to_that_user() {
    let volume = Volume::new();
    let others = herm().volume(&volume, "/opt/data");
    drop(Container::booted(&others));
    let container = others.flag(ARBITRARY).command(&["sleep", "infinity"]).run();
    let ask = |words: &[&str]| container.exec_with(&[ARBITRARY], words, b"");
    ask(&["stat", "/opt/data/.herm/run"]).exits(1);
    wait_until("it answers", || ask(&["herm", "status"]).is_success());
}

#[test]
fn l29_a_read_only_root_with_and_without_a_run_of_its_own() {
    let read_only = herm().flag("--read-only");
    assert_whole(&read_only.clone().flag("--tmpfs=/run"), "10000:10000");
    assert_whole(
        &read_only.clone().flag("--tmpfs=/run:noexec,nosuid"),
        "10000:10000",
    );
    assert_whole(&read_only, "10000:10000");
}

#[test]
fn l28_no_capabilities_as_the_image_s_own_user_and_as_any() {
    let own = flags(herm(), &RESTRICTED).flag("--user=10000:10000");
    assert_whole(&own, "10000:10000");
    let volume = volume_of("1234:5678", "700");
    let any = flags(herm(), &RESTRICTED).flag(ARBITRARY);
    assert_whole(&any.volume(&volume, "/opt/data"), "1234:5678");
}

/// Root that can become nobody: what it starts stays what it is, and that is said.
#[test]
fn l28_no_capabilities_as_root() {
    let options = flags(herm(), &RESTRICTED[..2]);
    let run = assert_without_home(&options, "0:0", "--user 10000:10000");
    assert!(run.stderr.contains("SETUID"), "{run}");
    let volume = volume_of("0:0", "700");
    assert_whole(&options.volume(&volume, "/opt/data"), "0:0");
}

/// Kubernetes' `restricted` with `fsGroup`: any user, no capabilities, read-only root, a volume that
/// is root's and writable by a supplementary group.
#[test]
fn l28_everything_that_is_restricted_at_once() {
    let options = flags(herm(), &RESTRICTED)
        .flag(ARBITRARY)
        .flag("--group-add=4444");
    for run in ["--tmpfs=/run:noexec", "--tmpfs=/tmp", "--shm-size=1m"] {
        let volume = volume_of("0:4444", "2775");
        let options = options.clone().flag(run).volume(&volume, "/opt/data");
        assert_whole(&options, "1234:5678");
    }
}

#[test]
fn l30_below_another_init() {
    assert_whole(&herm().flag("--init"), "10000:10000");
    let run = tour(&herm().flag("--init").env("HERM_LOG", "info"));
    assert!(run.stderr.contains("as a subreaper"), "{run}");
}

#[test]
fn l87_in_the_hosts_pid_namespace() {
    assert_whole(&herm().flag("--pid=host"), "10000:10000");
    assert_whole(&herm().flag("--pid=host").flag("--init"), "10000:10000");
}

/// Started by hand where something else is PID 1; orphans are adopted and reaped all the same.
#[test]
fn l30_started_by_hand_beside_another_pid_1() {
    let container = Container::of(&Image::herm_dev())
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
        .run();
    let tour = container.exec_root("PID 1 starts as root", &["/init", "sh", "-c", TOUR]);
    assert!(tour.exits(7).contains("\nstart=0 "), "{tour}");
    let orphan = "(sleep 0.2 & ) ; sleep 1; ps=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' Z '); exit $ps";
    container
        .exec_root("PID 1 starts as root", &["herm-init", "sh", "-c", orphan])
        .exits(0);
    assert!(container.is_running());
}

/// What answers the socket decides, not what the surroundings look like.
#[test]
fn l31_behaviour_follows_from_who_answers() {
    let container = Container::of(&Image::herm_dev())
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
        .run();
    // The same container, the same files: without a supervisor the command says so …
    container.exec(&["herm", "status"]).exits(3);
    let start = container.exec(&["herm", "gateway", "start"]);
    assert!(
        !start.is_success() && start.stderr.contains("supervisor"),
        "{start}"
    );
    // … and with one, whatever PID 1 is, it works.
    docker(&[
        "exec",
        "--detach",
        container.name(),
        "/init",
        "sleep",
        "infinity",
    ])
    .succeeds();
    container.wait_booted();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    assert_eq!(
        container.service_field("gateway-default", "state"),
        "running"
    );
}

/// `unshare -Ur` maps root and nobody else, as Podman does for a user without subordinate ids.
#[test]
fn l28_a_user_namespace_that_has_only_root() {
    let container = Container::of(&Image::herm_dev())
        .can_unshare()
        .flag("--tmpfs=/tmp")
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
        .run();
    let enter = "unshare --user --map-root-user --mount --pid --fork --mount-proc \
                 sh -c 'mount -t tmpfs none /run; HERM_LOG_STDOUT=none exec /init sh -c \"$0\"' \"$0\"";
    let inside = |home: &str| {
        let home = format!("HERMES_HOME={home}");
        let flags = ["--user=4321:4321", "--env", &home];
        container.exec_with(&flags, &["sh", "-c", enter, TOUR], b"")
    };
    container
        .exec_root(
            "another user's directory",
            &["install", "-d", "-o", "4321", "/tmp/h"],
        )
        .succeeds();
    let run = inside("/tmp/h");
    let told = run.exits(7);
    assert!(
        told.contains("id=0:0\n") && told.contains("\nstart=0 "),
        "{run}"
    );
    assert!(run.stderr.contains("not mapped"), "{run}");
    let unwritable = inside("/opt/data");
    assert!(unwritable.exits(7).contains("\nstatus=0 "), "{unwritable}");
}

#[test]
fn a_volume_of_somebody_else_s_is_put_right_by_root() {
    let volume = volume_of("4711:4712", "755");
    assert_whole(&herm().volume(&volume, "/opt/data"), "10000:10000");
}

#[test]
fn a_read_only_volume() {
    let volume = Volume::new();
    // As it comes from a host, never seen by herm, and with a home in it.
    let used = herm().volume(&volume, "/opt/data");
    let mount = format!("--volume={}:/opt/data:ro", volume.name());
    assert_without_home(&herm().flag(&mount), "10000:10000", "Read-only");
    assert_whole(&used, "10000:10000");
    assert_without_home(&herm().flag(&mount), "10000:10000", "Read-only");
    let all = flags(herm(), &RESTRICTED).flag(&mount);
    let all = all.flag("--user=10000:10000");
    assert_without_home(&all, "10000:10000", "Read-only");
}

#[test]
fn a_volume_that_fills_up_and_has_room_again() {
    let filling = herm().flag("--tmpfs=/opt/data:size=1m,uid=10000,gid=10000");
    let container = filling.command(&["sleep", "infinity"]).run();
    container.wait_booted();
    container
        .sh("dd if=/dev/zero of=/opt/data/ballast bs=4k; true")
        .succeeds();
    let refused = container.exec(&["herm", "profile", "create", "writer"]);
    assert!(
        refused.exits(1).is_empty() && refused.stderr.contains("No space left"),
        "{refused}"
    );
    container.exec(&["herm", "status"]).succeeds();
    container.sh("rm /opt/data/ballast").succeeds();
    container
        .exec(&["herm", "profile", "create", "writer"])
        .succeeds();
    container
        .exec(&["herm", "-p", "writer", "gateway", "start"])
        .succeeds();
    container.stop();
    assert_eq!(container.wait(), 143);
}

/// As `/proc` counts it, how often the keeper's threads have run.
fn keeper_switches(container: &Container) -> String {
    let pid = container.service_field("keeper", "pid");
    let script = format!("cat /proc/{pid}/task/*/status | grep ctxt_switches");
    container.sh(&script).succeeds().to_owned()
}

/// One page for everything: there is room for the lease, and for nothing after it.
#[test]
fn a_volume_that_was_never_large_enough() {
    let volume = herm().flag("--tmpfs=/opt/data:size=4k,uid=10000,gid=10000");
    let run = volume
        .clone()
        .env("HERM_LOG_STDOUT", "prefix")
        .command(&["sleep", "infinity"]);
    let container = run.run();
    container.wait_booted();
    container.wait_states(&[("gateway-default", "down")]);
    // The port follows from the name; that it is not recorded is said.
    assert_eq!(container.service_field("gateway-default", "port"), 9549);
    wait_until("it is said", || {
        container
            .logs()
            .contains("default: port 9549 is used without a record")
    });
    container.exec(&["herm", "gateway", "start", "--no-wait"]);
    container.wait_states(&[("gateway-default", "running")]);
    assert_eq!(container.service_field("gateway-default", "port"), 9549);
    // What the keeper tries and can't do doesn't wake it to try again.
    let mut before = String::new();
    wait_until("the keeper sleeps", || {
        let now = keeper_switches(&container);
        std::mem::replace(&mut before, now.clone()) == now
    });
}

#[test]
fn a_variable_that_is_misspelt_is_named_with_the_one_that_was_meant() {
    let options = herm()
        .env("HERM_STPO_GRACE", "20")
        .env("HERM_PORT_9119_TCP", "tcp://10.0.0.1");
    let run = options
        .command(&[
            "sh",
            "-c",
            "herm service wait gateway-default registered --timeout 60; herm gateway start",
        ])
        .run_to_end();
    run.exits(78);
    let said = "HERM_STPO_GRACE is no variable of herm's; did you mean HERM_STOP_GRACE?";
    assert!(
        run.stderr.contains(&format!("herm: warning: {said}")),
        "{run}"
    );
    assert!(!run.stderr.contains("HERM_PORT"), "{run}");
}

#[test]
fn settings_that_are_wrong_at_boot_are_named_and_all_others_hold() {
    let options = herm()
        .env("HERM_LOG_STDOUT", "prefix")
        .env("HERM_STPO_GRACE", "20")
        .env("HERMES_GATEWAY_BOOTSTRAP_STATE", "running");
    let container = options.command(&["sleep", "infinity"]).run();
    container.wait_states(&[("gateway-default", "running")]);
    let settings = "log.max_filse = 2\ngateway.command = [\"sleep\", \"54321\"]\n";
    container
        .exec_with_input(&["tee", "/opt/data/herm.toml"], settings.as_bytes())
        .succeeds();
    container.restart();
    container.wait_booted();
    wait_until("the gateway is what the file says", || {
        !container.processes("sleep 54321").is_empty()
    });
    let logs = container.logs();
    for wrong in [
        "/opt/data/herm.toml: there is no setting 'log.max_filse'; did you mean 'log.max_files'?",
        "HERM_STPO_GRACE is no variable of herm's; did you mean HERM_STOP_GRACE?",
    ] {
        let told = format!("reconcile: {wrong} (left out; all else that is set holds)");
        assert!(logs.contains(&told), "{logs}");
    }
    // What is edited while the container runs holds as well, whatever its variables are.
    let corrected = "gateway.command = [\"sleep\", \"65432\"]\n";
    container
        .exec_with_input(&["tee", "/opt/data/herm.toml"], corrected.as_bytes())
        .succeeds();
    let reconcile = container.exec(&["herm", "reconcile"]);
    reconcile.exits(78);
    assert!(!reconcile.stderr.contains("log.max_filse"), "{reconcile}");
    container.exec(&["herm", "service", "restart", "gateway-default"]);
    wait_until("the gateway is what the file says now", || {
        !container.processes("sleep 65432").is_empty()
    });
}

#[test]
fn a_home_whose_path_is_full_of_spaces_and_shell() {
    let home = "/opt/data/a  b\n$(touch /tmp/run)'\"`;&|*?[x]\\ü";
    let run = assert_whole(&herm().env("HERMES_HOME", home), "10000:10000");
    assert!(!run.stdout.contains("/tmp/run)' is"), "{run}");
    let container = herm()
        .env("HERMES_HOME", home)
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    let at_home =
        container.sh("cd \"$HERMES_HOME\" && ls -d logs profiles && ! ls /tmp/run 2>/dev/null");
    at_home.succeeds();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    container.restart();
    container.wait_states(&[("gateway-default", "running")]);
}

/// A home that is no directory, and a place for the socket that can't be had.
#[test]
fn where_it_can_not_work_one_message_names_the_remedy_and_the_code_is_78() {
    let nowhere = flags(herm(), &RESTRICTED)
        .flag(ARBITRARY)
        .flag("--ipc=none")
        .command(&["true"])
        .run_to_end();
    nowhere.exits(78);
    assert_eq!(nowhere.stderr.lines().count(), 1, "{nowhere}");
    assert!(nowhere.stderr.contains("--tmpfs /run"), "{nowhere}");
    let bad_id = herm()
        .env("HERMES_UID", "root")
        .command(&["true"])
        .run_to_end();
    bad_id.exits(78);
    assert!(bad_id.stderr.contains("HERMES_UID=\"root\""), "{bad_id}");
}

/// In plain Docker `/run` survives a restart with all that was in it.
#[test]
fn l88_a_killed_containers_runtime_state_misleads_nobody() {
    let container = herm().command(&["sleep", "infinity"]).run();
    container.wait_booted();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let before = container.inspect(".State.StartedAt");
    container.kill("KILL");
    container.wait();
    container.start();
    wait_until("it is another run", || {
        container.inspect(".State.StartedAt") != before
    });
    container.wait_states(&[("gateway-default", "running")]);
    let services = container.services();
    let own: Vec<_> = services
        .iter()
        .filter(|service| service["name"] == "main")
        .collect();
    assert_eq!(own.len(), 1, "{services:?}");
}

#[test]
fn l55_default_is_always_registered() {
    let container = herm().run();
    container.wait_booted();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    container.exec(&["herm", "gateway", "stop"]).succeeds();
    assert_eq!(
        container.service_field("gateway-default", "desired"),
        "down"
    );
}
