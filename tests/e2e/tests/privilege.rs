//! Chapter 5, authority: no request by an unprivileged peer ever runs anything as root.

use herm_e2e::{Container, HostDir, Image, Volume, wait_until};
use serde_json::{Value, json};

const HERMES: u32 = 10_000;
const STRANGER: u32 = 4_321;
const OVERFLOW: u32 = 65_534;

fn idle() -> Container {
    let container = Container::of(&Image::herm_dev())
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
}

fn spec(name: &str, argv: &[&str]) -> Value {
    json!({"name": name, "kind": "service", "argv": argv, "initial": "up"})
}

fn register(container: &Container, uid: u32, spec: &Value) -> Value {
    container.control(uid, &json!({"op": "register", "spec": spec}))
}

fn refused(answer: &Value, code: &str) {
    assert_eq!(answer["err"]["code"], code, "{answer}");
}

#[test]
fn a_registered_service_runs_as_its_registrar_without_any_privilege_to_gain() {
    let container = idle();
    let script = "cat /proc/self/status > /tmp/status.new && mv /tmp/status.new /tmp/status; exec sleep infinity";
    let answer = register(&container, HERMES, &spec("probe", &["sh", "-c", script]));
    assert!(answer["ok"].is_object(), "{answer}");
    wait_until("the service has told", || {
        container.sh("test -e /tmp/status").is_success()
    });
    let status = container.sh("cat /tmp/status").succeeds().to_owned();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["10000"; 4]);
    assert_eq!(field("Gid:"), ["10000"; 4]);
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(field("CapEff:"), ["0000000000000000"]);
    assert_eq!(field("CapPrm:"), ["0000000000000000"]);
    assert!(!field("Groups:").contains(&"0"));
}

#[test]
fn nobody_but_root_names_another_user() {
    let container = idle();
    for user in ["root", "0", "herm-log", "daemon", ""] {
        let mut wanted = spec("climber", &["id"]);
        wanted["user"] = user.into();
        let answer = register(&container, HERMES, &wanted);
        assert!(answer["err"].is_object(), "user {user:?}: {answer}");
        assert!(container.service("climber").is_none());
    }
    let reason = "root may name the user a service runs as";
    let mut wanted = spec("given", &["sleep", "infinity"]);
    wanted["user"] = "hermes".into();
    let answer = register(&container, 0, &wanted);
    assert!(answer["ok"].is_object(), "{reason}: {answer}");
    wait_until("it runs", || {
        container
            .service("given")
            .is_some_and(|s| s["state"] == "running")
    });
    assert_eq!(container.service_field("given", "uid"), HERMES);
}

#[test]
fn what_is_roots_is_refused_to_others() {
    let container = idle();
    for uid in [HERMES, STRANGER] {
        for operation in [
            json!({"op": "shutdown"}),
            json!({"op": "reexec"}),
            json!({"op": "stop", "name": "logd"}),
            json!({"op": "signal", "name": "logd", "signal": "STOP"}),
            json!({"op": "unregister", "name": "logd"}),
        ] {
            refused(&container.control(uid, &operation), "not_permitted");
        }
    }
    assert!(container.is_running() && container.answers());
}

#[test]
fn a_stranger_may_look_and_nothing_else() {
    let container = idle();
    for uid in [STRANGER, OVERFLOW] {
        let status = container.control(uid, &json!({"op": "status"}));
        assert!(status["ok"]["services"].is_array(), "{status}");
        for operation in [
            json!({"op": "start", "name": "gateway-default"}),
            json!({"op": "stop", "name": "gateway-default"}),
            json!({"op": "env", "name": "gateway-default"}),
            json!({"op": "attach_keeper"}),
            json!({"op": "ack_order", "name": "gateway-default", "seq": 1}),
        ] {
            refused(&container.control(uid, &operation), "not_permitted");
        }
    }
}

#[test]
fn a_strangers_own_service_can_not_take_a_gateways_name() {
    let container = idle();
    let answer = register(&container, STRANGER, &spec("gateway-default", &["id"]));
    assert!(answer["err"].is_object(), "{answer}");
    assert_eq!(
        container.service_field("gateway-default", "kind"),
        "gateway"
    );
}

#[test]
fn a_peer_can_not_talk_itself_into_another_uid() {
    let container = idle();
    let forged = json!({"op": "shutdown", "uid": 0, "peer": {"uid": 0}, "user": "root"});
    refused(&container.control(HERMES, &forged), "not_permitted");
    let mut wanted = spec("forged", &["id"]);
    wanted["uid"] = 0.into();
    let answer = register(&container, HERMES, &wanted);
    refused(&answer, "bad_request");
}

/// The program is looked up and executed as the registrar, whatever it is a link to by then.
#[test]
fn a_program_swapped_for_a_link_still_runs_as_its_registrar() {
    let container = idle();
    container
        .sh("printf '#!/bin/sh\\nsleep infinity\\n' > /tmp/run && chmod +x /tmp/run")
        .succeeds();
    register(&container, HERMES, &spec("swapped", &["/tmp/run"]));
    container
        .sh("printf '#!/bin/sh\\nid -u >> /tmp/ids\\nexec sleep infinity\\n' > /tmp/other && chmod +x /tmp/other && ln -sf /tmp/other /tmp/run")
        .succeeds();
    let again = container.control(
        HERMES,
        &json!({"op": "restart", "name": "swapped", "wait": true}),
    );
    assert!(again["ok"].is_object(), "{again}");
    assert_eq!(container.sh("sort -u /tmp/ids").succeeds(), "10000");
}

/// A set-user-id program does not lend its owner to a service.
#[test]
fn a_set_user_id_program_gains_nothing() {
    let container = idle();
    container
        .exec_root(
            "only root can make a set-user-id program of root's",
            &[
                "sh",
                "-c",
                "cp /usr/bin/id /usr/local/bin/id-as-root && chmod 4755 /usr/local/bin/id-as-root",
            ],
        )
        .succeeds();
    let script = "id-as-root -u > /tmp/uid.new && mv /tmp/uid.new /tmp/uid; exec sleep infinity";
    register(&container, HERMES, &spec("setuid", &["sh", "-c", script]));
    wait_until("it has told", || {
        container.sh("test -e /tmp/uid").is_success()
    });
    assert_eq!(container.sh("cat /tmp/uid").succeeds(), "10000");
}

#[test]
fn variables_that_steer_a_loader_or_a_shell_reach_the_service_and_nobody_else() {
    let container = idle();
    let evil = "/tmp/evil.so";
    let mut wanted = spec("steered", &["sleep", "infinity"]);
    wanted["env"] = json!({
        "LD_PRELOAD": {"value": evil, "origin": "attack"},
        "PATH": {"value": "/tmp:/usr/bin:/bin", "origin": "attack"},
        "BASH_ENV": {"value": "/tmp/evil.sh", "origin": "attack"},
    });
    wanted["health"] =
        json!({"probe": {"type": "command", "argv": ["/usr/bin/id"]}, "interval_ms": 100});
    register(&container, HERMES, &wanted);
    wait_until("it runs", || {
        container
            .service("steered")
            .is_some_and(|s| s["state"] == "running")
    });
    let reason = "only root reads the environment of root's and the log daemon's processes";
    let seen = container.exec_root(
        reason,
        &["sh", "-c", "for p in /proc/[0-9]*; do u=$(stat -c %u $p 2>/dev/null); [ \"$u\" = 10000 ] || grep -lz evil $p/environ 2>/dev/null; done; true"],
    );
    assert_eq!(seen.succeeds(), "");
}

/// Between dropping its user and executing, a new process can be stopped by that user. A
/// supervisor that waited for the execution would stop with it.
/// Setup finds out which directories of `PATH` are root's alone, and its hooks run before that is known.
#[test]
fn what_root_adds_during_the_boot_is_no_program_that_an_agent_has_put_on_the_path() {
    let home = Volume::new();
    let options = Container::of(&Image::herm_dev()).volume(&home, "/opt/data");
    let plant = "mkdir -p .local/bin && cp /bin/true .local/bin/sleep";
    options
        .clone()
        .flag("--user=10000:10000")
        .flag("--workdir=/opt/data")
        .flag("--entrypoint=sh")
        .command(&["-c", plant])
        .run_to_end()
        .succeeds();
    let hooks = HostDir::new();
    hooks.put_script("01-add", "herm service add early --start -- sleep 54321");
    let container = Container::booted(
        &options
            .env("PATH", "/opt/data/.local/bin:/usr/local/bin:/usr/bin:/bin")
            .flag(&hooks.at("/etc/cont-init.d"))
            .command(&["/bin/sleep", "infinity"]),
    );
    assert_eq!(container.service_field("early", "uid"), 0);
    assert_eq!(container.processes("sleep 54321").len(), 1);
}

#[test]
fn a_user_who_stops_every_new_process_stops_nothing_else() {
    const STOPPER: &str = r#"
        my %seen = map { $_ => 1 } map { m{(\d+)} } glob "/proc/[0-9]*"; $seen{$$} = 1;
        open my $ready, ">", "/tmp/stopper"; close $ready;
        while (!-e "/tmp/enough") {
            for my $pid (map { m{(\d+)} } glob "/proc/[0-9]*") {
                next if $seen{$pid}++;
                kill "STOP", $pid if (stat "/proc/$pid")[4] == 10000;
            }
        }
    "#;
    let container = idle();
    let stopper = std::thread::scope(|scope| {
        let running = scope.spawn(|| container.exec(&["perl", "-e", STOPPER]));
        wait_until("the stopper looks", || {
            container
                .exec_root(
                    "a process of the service user would be stopped",
                    &["test", "-e", "/tmp/stopper"],
                )
                .is_success()
        });
        for number in 0..50 {
            let answer = register(&container, 0, &{
                let mut wanted = spec(&format!("victim-{number}"), &["sleep", "infinity"]);
                wanted["user"] = "hermes".into();
                wanted
            });
            assert!(answer["ok"].is_object(), "{answer}");
            let hello = container.control(0, &json!({"op": "hello"}));
            assert_eq!(hello["ok"]["program"], "herm", "{hello}");
        }
        container
            .exec_root(
                "a process of the service user would be stopped",
                &["touch", "/tmp/enough"],
            )
            .succeeds();
        running.join().unwrap()
    });
    stopper.succeeds();
}

/// A file system that never answers: FUSE, mounted without anybody serving it.
#[test]
fn a_working_directory_that_hangs_stops_nothing_else() {
    const MOUNT: &str = r#"
        open my $fuse, "+<", "/dev/fuse" or die "fuse: $!";
        mkdir "/hangs";
        my $options = "fd=" . fileno($fuse) . ",rootmode=40000,user_id=0,group_id=0,allow_other";
        my ($type, $target, $source) = ("fuse", "/hangs", "nobody");
        my $mount = (`uname -m` =~ /x86_64/) ? 165 : 40;
        syscall($mount, $source, $target, $type, 0, $options) == 0 or die "mount: $!";
        open my $ready, ">", "/tmp/mounted"; close $ready;
        sleep 1 while !-e "/tmp/enough";
    "#;
    let container = Container::of(&Image::herm_dev())
        .flag("--cap-add=SYS_ADMIN")
        .flag("--device=/dev/fuse")
        .flag("--security-opt=apparmor=unconfined")
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    std::thread::scope(|scope| {
        let mount = scope.spawn(|| container.exec_root("only root mounts", &["perl", "-e", MOUNT]));
        wait_until("the directory hangs", || {
            container.sh("test -e /tmp/mounted").is_success() || mount.is_finished()
        });
        assert!(!mount.is_finished(), "{}", mount.join().unwrap());
        for number in 0..10 {
            let mut wanted = spec(&format!("hung-{number}"), &["sleep", "infinity"]);
            wanted["cwd"] = "/hangs".into();
            let answer = register(&container, HERMES, &wanted);
            assert!(answer["ok"].is_object(), "{answer}");
            assert!(container.answers());
        }
        container.sh("touch /tmp/enough").succeeds();
        mount.join().unwrap().succeeds();
    });
    assert!(container.answers());
}
