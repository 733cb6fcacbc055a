//! Chapter 5: restarts, parking, stopping whole sets, registration, re-execution.

use herm_e2e::{Container, Image, Volume, docker, wait_until};
use serde_json::{Value, json};

const HERMES: u32 = 10_000;

fn idle() -> Container {
    let container = Container::of(&Image::herm_dev())
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
}

/// Registers and starts a service that runs this shell script as the service user.
fn service(container: &Container, name: &str, script: &str) {
    let spec =
        json!({"name": name, "kind": "service", "argv": ["sh", "-c", script], "initial": "up"});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
}

fn verb(container: &Container, verb: &str, name: &str) -> Value {
    container.control(HERMES, &json!({"op": verb, "name": name, "wait": true}))
}

fn wait_field(container: &Container, name: &str, field: &str, value: &Value) {
    wait_until(&format!("{name}'s {field} is {value}"), || {
        container.service_field(name, field) == *value
    });
}

#[test]
fn l10_exits_78_and_125_park_a_service_until_somebody_acts() {
    let container = idle();
    for code in [78, 125] {
        let name = format!("bad-{code}");
        service(
            &container,
            &name,
            &format!("echo x >> /tmp/{name}; exit {code}"),
        );
        wait_field(&container, &name, "state", &"parked".into());
        assert_eq!(container.service_field(&name, "last_exit")["code"], code);
        assert_eq!(
            container.sh(&format!("wc -l < /tmp/{name}")).succeeds(),
            "1"
        );
        let why = container.exec(&["herm", "why", &name]);
        assert!(why.succeeds().contains(&code.to_string()), "{why}");
        let tried = verb(&container, "start", &name);
        assert_eq!(tried["err"]["code"], "failed", "{tried}");
        assert_eq!(
            container.sh(&format!("wc -l < /tmp/{name}")).succeeds(),
            "2"
        );
    }
}

#[test]
fn l11_a_failing_service_backs_off_and_is_never_given_up() {
    let container = idle();
    service(&container, "flaky", "exit 1");
    wait_field(&container, "flaky", "state", &"backoff".into());
    assert_eq!(container.service_field("flaky", "desired"), "up");
    assert!(container.service_field("flaky", "next").is_string());
    wait_until("it was tried three times more", || {
        container.service_field("flaky", "restarts").as_u64() >= Some(3)
    });
    assert_ne!(container.service_field("flaky", "state"), "failed");
}

#[test]
fn l13_exits_are_shown_as_what_they_were() {
    let container = idle();
    service(&container, "code", "exit 3");
    service(&container, "signal", "kill -ABRT $$");
    wait_field(&container, "code", "state", &"backoff".into());
    wait_field(&container, "signal", "state", &"backoff".into());
    assert_eq!(container.service_field("code", "last_exit")["code"], 3);
    assert_eq!(container.service_field("signal", "last_exit")["signal"], 6);
}

/// How many of the four processes of the test below live.
fn sleepers(container: &Container) -> usize {
    let commands = container.processes("sleep ");
    let ours = ["1111", "2222", "3333", "4444"];
    let is_ours = |command: &String| ours.iter().any(|time| command.ends_with(time));
    commands
        .iter()
        .filter(|(_, command)| is_ours(command))
        .count()
}

#[test]
fn l45_a_stop_takes_the_whole_set_down() {
    let container = idle();
    service(
        &container,
        "forker",
        "sleep 1111 & setsid sleep 2222 & (setsid sleep 3333 >/dev/null 2>&1 &) ; exec sleep 4444",
    );
    wait_until("all four run", || sleepers(&container) == 4);
    let stopped = verb(&container, "stop", "forker");
    assert!(stopped["ok"].is_object(), "{stopped}");
    assert_eq!(sleepers(&container), 0);
}

#[test]
fn l40_a_stop_signals_only_the_main_process_at_first() {
    let container = idle();
    service(
        &container,
        "drainer",
        "sh -c 'trap \"echo child >> /tmp/order\" TERM; sleep 60 & wait' & trap 'echo main >> /tmp/order; exit 0' TERM; touch /tmp/trapped; wait",
    );
    wait_until("it is ready for the signal", || {
        container.sh("test -e /tmp/trapped").is_success()
    });
    verb(&container, "stop", "drainer");
    assert!(container.sh("head -1 /tmp/order").succeeds() == "main");
}

#[test]
fn a_service_that_ignores_term_is_killed_within_its_grace() {
    let container = idle();
    let spec = json!({"name": "deaf", "kind": "service", "initial": "up", "stop": {"grace_ms": 500},
        "argv": ["sh", "-c", "trap '' TERM; touch /tmp/deaf; while :; do sleep 1; done"]});
    container.control(HERMES, &json!({"op": "register", "spec": spec}));
    wait_until("it is deaf", || {
        container.sh("test -e /tmp/deaf").is_success()
    });
    let stopped = verb(&container, "stop", "deaf");
    assert_eq!(stopped["ok"]["service"]["state"], "down", "{stopped}");
    assert_eq!(stopped["ok"]["service"]["last_exit"]["signal"], 9);
}

#[test]
fn l24_a_registration_that_is_refused_leaves_nothing() {
    let container = idle();
    for (what, spec) in [
        (
            "an empty command",
            json!({"name": "half", "kind": "service", "argv": [], "initial": "up"}),
        ),
        (
            "a cycle",
            json!({"name": "half", "kind": "service", "argv": ["true"], "initial": "up", "requires": ["half"]}),
        ),
        (
            "a bad name",
            json!({"name": "../half", "kind": "service", "argv": ["true"], "initial": "up"}),
        ),
        (
            "a bad signal",
            json!({"name": "half", "kind": "service", "argv": ["true"], "initial": "up", "stop": {"signal": "NOSUCH"}}),
        ),
    ] {
        let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
        assert!(answer["err"]["message"].is_string(), "{what}: {answer}");
        assert!(container.service("half").is_none(), "{what}");
    }
}

#[test]
fn a_program_that_does_not_exist_is_told_by_name() {
    let container = idle();
    let spec = json!({"name": "absent", "kind": "service", "argv": ["/no/such/program"], "initial": "down"});
    container.control(HERMES, &json!({"op": "register", "spec": spec}));
    let answer = verb(&container, "start", "absent");
    assert_eq!(answer["err"]["code"], "failed", "{answer}");
    assert!(
        answer["err"]["message"]
            .as_str()
            .unwrap()
            .contains("/no/such/program"),
        "{answer}"
    );
}

#[test]
fn dependencies_start_first_and_a_cycle_is_reported_with_its_path() {
    let container = idle();
    let spec = |name: &str, requires: &[&str], script: &str| {
        json!({"op": "register", "spec": {"name": name, "kind": "service", "initial": "up",
               "requires": requires, "readiness": {"type": "notify", "fd": 3},
               "argv": ["sh", "-c", script]}})
    };
    let says_so =
        |name: &str| format!("echo {name} >> /tmp/started; echo >&3; exec sleep infinity");
    container.control(HERMES, &spec("second", &["first"], &says_so("second")));
    container.control(HERMES, &spec("first", &[], &says_so("first")));
    wait_field(&container, "second", "state", &"running".into());
    assert_eq!(container.sh("cat /tmp/started").succeeds(), "first\nsecond");
    let cycle = container.control(HERMES, &spec("first", &["second"], "exec sleep infinity"));
    let message = cycle["err"]["message"].as_str().unwrap();
    assert!(
        message.contains("first") && message.contains("second"),
        "{message}"
    );
}

#[test]
fn readiness_by_notification_is_waited_for() {
    let container = idle();
    let spec = json!({"name": "slow", "kind": "service", "initial": "down",
        "readiness": {"type": "notify", "fd": 3},
        "argv": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.05; done; echo >&3; exec sleep infinity"]});
    container.control(HERMES, &json!({"op": "register", "spec": spec}));
    container.control(HERMES, &json!({"op": "start", "name": "slow"}));
    wait_field(&container, "slow", "state", &"starting".into());
    assert_eq!(container.service_field("slow", "ready"), false);
    container.sh("touch /tmp/go").succeeds();
    wait_field(&container, "slow", "state", &"running".into());
    assert_eq!(container.service_field("slow", "ready"), true);
}

#[test]
fn re_execution_keeps_every_process_and_every_order() {
    let container = idle();
    service(&container, "kept", "exec sleep infinity");
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let pids = || ["kept", "gateway-default"].map(|name| container.service_field(name, "pid"));
    let before = pids();
    container
        .exec_root("re-execution is root's", &["herm", "service", "reexec"])
        .succeeds();
    assert_eq!(pids(), before);
    container.exec(&["herm", "gateway", "stop"]).succeeds();
    assert_eq!(container.service_field("kept", "pid"), before[0]);
    // The main program is still PID 1's child, and its code still the container's.
    let (main, _) = container
        .processes("sleep infinity")
        .into_iter()
        .find(|(pid, _)| before.iter().all(|kept| *kept != *pid))
        .unwrap();
    container
        .exec(&["sh", "-c", &format!("kill {main}")])
        .succeeds();
    let code = container.wait();
    assert_eq!(code, 143);
}

#[test]
fn killed_helpers_are_replaced_and_gateways_notice_nothing() {
    let container = idle();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let before = container.service_field("gateway-default", "pid");
    let reason = "helpers that are not the service user's are killed";
    for helper in ["keeper", "logd"] {
        let pid = container.service_field(helper, "pid");
        container
            .exec_root(reason, &["sh", "-c", &format!("kill -9 {pid}")])
            .succeeds();
        wait_until("it is replaced", || {
            container
                .service(helper)
                .is_some_and(|service| service["state"] == "running" && service["pid"] != pid)
        });
    }
    container.exec(&["herm", "gateway", "stop"]).succeeds();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    assert_ne!(container.service_field("gateway-default", "pid"), before);
}

#[test]
fn l81_a_broken_service_reads_backoff_not_up() {
    let container = idle();
    service(&container, "broken", "exit 1");
    wait_field(&container, "broken", "state", &"backoff".into());
    let listed = docker(&[
        "exec",
        "--user",
        "10000:10000",
        container.name(),
        "herm",
        "service",
        "status",
        "broken",
    ]);
    assert!(listed.stdout.contains("backoff"), "{listed}");
    assert_eq!(listed.code, Some(3), "{listed}");
}

/// A key that is too short is a bad configuration: exit 78, parked, and back once it is mended.
#[test]
fn l10_a_gateway_with_a_bad_key_parks_until_its_configuration_changes() {
    let container = idle();
    container.create_profile("ada", 9401);
    let mended = container
        .sh("cat /opt/data/profiles/ada/.env")
        .succeeds()
        .to_owned();
    container
        .sh("sed -i 's/^API_SERVER_KEY=.*/API_SERVER_KEY=short/' /opt/data/profiles/ada/.env")
        .succeeds();
    container
        .exec(&["herm", "-p", "ada", "gateway", "start", "--no-wait"])
        .succeeds();
    container.wait_states(&[("gateway-ada", "parked")]);
    assert_eq!(
        container.service_field("gateway-ada", "last_exit")["code"],
        78
    );
    container
        .exec_with_input(
            &["sh", "-c", "cat > /opt/data/profiles/ada/.env"],
            mended.as_bytes(),
        )
        .succeeds();
    container.wait_healthy(9401);
    container.wait_states(&[("gateway-ada", "running")]);
}

#[test]
fn the_log_daemon_may_be_looked_at() {
    let container = idle();
    let shown = container.exec(&["herm", "service", "status", "logd"]);
    assert!(shown.succeeds().contains("running"), "{shown}");
}

/// PID 1 listens in the home where it can't in /run; the next boot is an ordinary one again.
#[test]
fn a_boot_without_a_writable_run_spoils_no_later_boot() {
    let volume = Volume::new();
    let once = |container: herm_e2e::Options| {
        container
            .volume(&volume, "/opt/data")
            .command(&["sleep", "infinity"])
            .run()
    };
    let read_only = once(Container::of(&Image::herm_dev()).flag("--read-only"));
    wait_until("it answers", || {
        read_only.exec(&["herm", "status"]).is_success()
    });
    drop(read_only);
    let ordinary = once(Container::of(&Image::herm_dev()));
    ordinary.wait_booted();
    ordinary.exec(&["herm", "gateway", "start"]).succeeds();
}

/// Registers a service that is not ready before `/tmp/go` exists, and shows that it is then.
fn becomes_ready(container: &Container, name: &str, readiness: &Value, argv: &[&str], go: &str) {
    let spec = json!({"name": name, "kind": "service", "initial": "up", "readiness": readiness,
                      "argv": argv});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
    wait_field(container, name, "state", &"starting".into());
    container.sh(go).succeeds();
    wait_field(container, name, "state", &"running".into());
    assert_eq!(container.service_field(name, "ready"), true, "{name}");
}

#[test]
fn readiness_by_sd_notify_tcp_http_and_command_is_waited_for() {
    const NOTIFY: &str = r#"
        use Socket;
        select undef, undef, undef, 0.05 until -e "/tmp/go-sd";
        socket my $s, PF_UNIX, SOCK_DGRAM, 0; send $s, "READY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET});
        sleep 1 while 1;
    "#;
    const LISTEN: &str = r#"
        use IO::Socket::INET;
        select undef, undef, undef, 0.05 until -e "/tmp/go-tcp";
        my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:9555", Listen => 5, ReuseAddr => 1) or die;
        while (my $c = $l->accept) { <$c>; print $c "HTTP/1.0 200 OK\r\n\r\n"; close $c }
    "#;
    let container = idle();
    becomes_ready(
        &container,
        "by-datagram",
        &json!({"type": "sd_notify"}),
        &["perl", "-e", NOTIFY],
        "touch /tmp/go-sd",
    );
    let tcp = json!({"type": "tcp", "address": "127.0.0.1:9555"});
    becomes_ready(
        &container,
        "by-tcp",
        &json!({"type": "probe", "probe": tcp, "interval_ms": 200}),
        &["perl", "-e", LISTEN],
        "touch /tmp/go-tcp",
    );
    let command = json!({"type": "command", "argv": ["test", "-e", "/tmp/go-command"]});
    becomes_ready(
        &container,
        "by-command",
        &json!({"type": "probe", "probe": command, "interval_ms": 200}),
        &["sleep", "infinity"],
        "touch /tmp/go-command",
    );
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let port = container.service_field("gateway-default", "port");
    container.exec(&["herm", "gateway", "stop"]).succeeds();
    let http = json!({"type": "http", "url": format!("http://127.0.0.1:{port}/health")});
    becomes_ready(
        &container,
        "by-http",
        &json!({"type": "probe", "probe": http, "interval_ms": 200}),
        &["sleep", "infinity"],
        "herm gateway start",
    );
}

/// An unhealthy service is restarted; `herm service status` shows it meanwhile.
#[test]
fn a_service_that_is_unhealthy_is_restarted() {
    let container = idle();
    let spec = json!({"name": "sick", "kind": "service", "initial": "up",
        "argv": ["sh", "-c", "echo x >> /tmp/starts; exec sleep infinity"],
        "health": {"probe": {"type": "command", "argv": ["test", "!", "-e", "/tmp/sick"]},
                   "interval_ms": 200, "threshold": 2}});
    container.control(HERMES, &json!({"op": "register", "spec": spec}));
    wait_field(&container, "sick", "health", &"healthy".into());
    container.sh("touch /tmp/sick").succeeds();
    wait_until("it was started again", || {
        container.sh("wc -l < /tmp/starts").stdout.trim() != "1"
    });
    container.sh("rm /tmp/sick").succeeds();
    wait_field(&container, "sick", "health", &"healthy".into());
}

/// What a profile was given is only given: somebody else may sit there when its gateway is to come.
#[test]
fn l14_a_given_port_that_somebody_else_has_by_now_is_given_anew() {
    let container = idle();
    container
        .exec(&["herm", "profile", "create", "writer"])
        .succeeds();
    let start = ["herm", "-p", "writer", "gateway", "start"];
    container.exec(&start).succeeds();
    let port = container.service_field("gateway-writer", "port");
    container
        .exec(&["herm", "-p", "writer", "gateway", "stop"])
        .succeeds();
    let listener = format!(
        "exec perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", \
         LocalPort => {port}, Listen => 1, ReuseAddr => 1) or die; open my $f, \">\", \"/tmp/sits\"; sleep 1000'"
    );
    service(&container, "squatter", &listener);
    wait_until("somebody else sits on the port", || {
        container.sh("test -e /tmp/sits").is_success()
    });
    container.exec(&start).succeeds();
    let other = container.service_field("gateway-writer", "port");
    assert_ne!(other, port);
    let answer = container.http_get(u16::try_from(other.as_u64().unwrap()).unwrap(), "/health");
    assert_eq!(answer.map(|answer| answer.status), Some(200));
    container.restart();
    container.wait_states(&[("gateway-writer", "running")]);
    assert_eq!(
        container.service_field("gateway-writer", "port"),
        other,
        "it stays"
    );
}
