//! Chapter 3: the boot itself, over and over, slow, broken off, and on a machine without a container.

use herm_e2e::{Container, Image, Options, Volume, docker};

/// How many times: so many workers at once, each so often.
const BOOTS: u32 = 1000;
const WORKERS: u32 = 4;
/// Boots for one command, so that its guard against hanging fits the slowest machine.
const BATCH: u32 = 10;

/// A batch of one worker's boots: each herm is PID 1 of a namespace of its own with a `/run` and a home of its
/// own. The main program supervises a service that tells when it is ready, waits for that, and looks
/// whether it was so.
const BOOT: &str = r#"
main='
printf "%s" "$SPEC" | herm service add --file - > /run/said 2>&1 || exit 2
herm service wait db ready > /run/said 2>&1 || exit 3
[ "$(cat /run/db)" = up ] || exit 4
herm service status db > /run/said 2>&1 || exit 5
exit 42'
enter='mount -t tmpfs -o mode=1777 none /run && exec /init sh -c "$0"'
export HERM_LOG=error HERM_LOG_STDOUT=none HERMES_HOME=/opt/data/worker-$1
export SPEC='{"name": "db", "kind": "service", "initial": "up",
    "argv": ["sh", "-c", "echo up > /run/db; echo >&3; exec sleep 1000"],
    "readiness": {"type": "notify", "fd": 3}}'
boot=0
while [ $boot -lt $2 ]; do
    boot=$((boot + 1))
    unshare --mount --pid --fork --mount-proc sh -c "$enter" "$main" </dev/null >/tmp/out-$1 2>&1
    code=$?
    [ $code = 42 ] || { echo "boot $boot of worker $1: exit code $code"; cat /tmp/out-$1; }
done"#;

fn idle_beside_namespaces() -> Container {
    Container::of(&Image::herm_dev())
        .can_unshare()
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
        .run()
}

/// A race between a service's readiness and the boot failed 43 boots of 500 elsewhere, and was cured
/// by sleeping 50 ms.
#[test]
fn l50_a_thousand_boots_in_a_row_without_one_failure() {
    let container = idle_beside_namespaces();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let name = container.name().to_owned();
            std::thread::spawn(move || {
                let worker = worker.to_string();
                let batch = [
                    "exec",
                    &name,
                    "sh",
                    "-c",
                    BOOT,
                    "boot",
                    &worker,
                    &BATCH.to_string(),
                ];
                for _ in 0..BOOTS / WORKERS / BATCH {
                    assert_eq!(docker(&batch).succeeds(), "");
                }
            })
        })
        .collect();
    for thread in workers {
        thread.join().unwrap();
    }
}

/// An image with these hook scripts, by their names.
fn with_hooks(hooks: &[(&str, &str)]) -> Options {
    let install = |(name, body): &(&str, &str)| {
        let path = format!("/etc/cont-init.d/{name}");
        format!("printf '#!/bin/sh\\n{body}\\n' > {path}; chmod 755 {path}; ")
    };
    let installed: Vec<_> = hooks.iter().map(install).collect();
    let script = format!(
        "mkdir -p /etc/cont-init.d; {} exec /init sh -c 'echo main; exit 5'",
        installed.concat()
    );
    Container::of(&Image::herm_dev())
        .flag("--entrypoint=sh")
        .env("HERM_LOG_STDOUT", "none")
        .command(&["-c", &script])
}

/// Slow setups were killed by magic timeouts, with errors that named nobody.
#[test]
fn l51_a_slow_step_is_waited_for_and_can_be_named_meanwhile() {
    let slow = "echo in the hook; until [ -e /tmp/go ]; do sleep 0.05; done";
    let container = with_hooks(&[("10-slow", slow)]).run();
    container
        .follow_all_logs()
        .wait_for("the hook's", |line| line == "in the hook");
    // PID 1 answers meanwhile, and what takes long is named where it can be seen.
    let status = container.exec(&["herm", "status"]);
    assert!(status.stdout.contains("the boot is not over"), "{status}");
    container
        .follow_all_logs()
        .wait_for("the culprit's", |line| line.contains("10-slow"));
    container.sh("touch /tmp/go").succeeds();
    assert_eq!(container.wait(), 5);
}

#[test]
fn l51_a_step_that_fails_is_named() {
    let hooks = [("10-bad", "exit 3"), ("20-good", "echo good")];
    let on = with_hooks(&hooks).run_to_end();
    on.exits(5);
    assert!(
        on.stderr.contains("10-bad") && on.stdout.contains("good\nmain"),
        "{on}"
    );
    let stopped = with_hooks(&hooks)
        .env("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2")
        .run_to_end();
    assert!(
        !stopped.is_success() && stopped.code != Some(5),
        "{stopped}"
    );
    assert!(
        stopped.stderr.contains("10-bad") && !stopped.stdout.contains("main"),
        "{stopped}"
    );
}

/// As a kernel starts its init: with next to no environment, on a root that no engine has made.
#[test]
fn l31_as_the_init_of_a_machine_rather_than_of_a_container() {
    let container = idle_beside_namespaces();
    let machine = |script: &str| {
        let enter =
            "mkdir -p /machine && mount --bind / /machine && exec chroot /machine sh -c \"$0\"";
        let argv = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            enter,
            script,
        ];
        container.exec_root("new namespaces are root's to make", &argv)
    };
    let init = "mount -t proc proc /proc && mount -t tmpfs none /run && exec env -i TERM=linux";
    let main = "sh -c 'echo $$ > /tmp/pid; sleep 0.01 && herm status && exit 9'";
    let bare = machine(&format!("{init} /init {main}"));
    assert!(bare.exits(9).contains("main"), "{bare}");
    let home = machine(&format!("{init} HERMES_HOME=/opt/data /init {main}"));
    assert!(home.exits(9).contains("keeper"), "{home}");
    // The one thing it can't do without.
    let no_proc = machine("umount -l /proc; exec /init true");
    no_proc.exits(78);
    assert!(no_proc.stderr.contains("is /proc mounted?"), "{no_proc}");
}

#[test]
fn one_gateway_for_all_profiles_is_the_only_one_that_starts_by_itself() {
    let volume = Volume::new();
    let options = Container::of(&Image::herm_dev())
        .volume(&volume, "/opt/data")
        .command(&["sleep", "infinity"]);
    let before = Container::booted(&options);
    before.exec(&["herm", "profile", "create", "a"]).succeeds();
    before.exec(&["herm", "gateway", "start"]).succeeds();
    before
        .exec(&["herm", "-p", "a", "gateway", "start"])
        .succeeds();
    before.stop();
    let after = Container::booted(&options.env("GATEWAY_MULTIPLEX_PROFILES", "TRUE"));
    after.wait_states(&[("gateway-default", "running")]);
    let boots = after.boot_log();
    let decided: Vec<&str> = boots.lines().rev().take(2).collect();
    assert!(
        decided[1].ends_with("profile=default prior_state=running action=started")
            && decided[0].ends_with("profile=a prior_state=running action=registered"),
        "{boots}"
    );
    assert!(after.service_field("gateway-a", "pid").is_null());
}

#[test]
fn the_dashboard_is_on_where_it_is_asked_for_in_any_case_and_disabled_elsewhere() {
    for (asked, state) in [
        ("YES", "running"),
        ("True", "running"),
        ("0", "disabled"),
        ("off", "disabled"),
    ] {
        let options = Container::of(&Image::herm_dev())
            .env("HERMES_DASHBOARD", asked)
            .command(&["sleep", "infinity"]);
        let container = options.run();
        container.wait_states(&[("dashboard", state)]);
    }
}
