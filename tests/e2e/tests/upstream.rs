//! Chapter 8: the agent's own image, made for s6-overlay, with herm's archive in its place. What the
//! agent does there, it does by its own service manager, as its own user.

use herm_e2e::{API_KEY, Container, Image, Options, Volume, wait_until};

const HOME: &str = "/opt/data";
const SVSTAT: &str = "/command/s6-svstat";

fn image() -> Image {
    Image::built_for_tests("herm-upstream")
}

fn agents(volume: &Volume) -> Options {
    Container::of(&image())
        .volume(volume, HOME)
        .command(&["sleep", "infinity"])
}

/// The container with its boot over, the agent's reconciler and herm's keeper included.
fn started(options: &Options) -> Container {
    let container = options.run();
    container.wait_booted();
    container
}

/// The agent's own command.
fn agent(container: &Container, words: &[&str]) {
    let argv: Vec<&str> = std::iter::once("hermes")
        .chain(words.iter().copied())
        .collect();
    container.exec(&argv).succeeds();
}

/// The agent's own Python.
fn python(container: &Container, script: &str) -> String {
    let argv = ["/opt/hermes/.venv/bin/python3", "-c", script];
    container.exec(&argv).succeeds().to_owned()
}

fn settings(container: &Container, profile: &str, port: u16) {
    let text =
        format!("API_SERVER_ENABLED=true\nAPI_SERVER_KEY={API_KEY}\nAPI_SERVER_PORT={port}\n");
    let path = format!("{HOME}/profiles/{profile}/.env");
    let argv = ["sh", "-c", "umask 077; cat > \"$0\"", &path];
    container.exec_with_input(&argv, text.as_bytes()).succeeds();
}

fn svstat(container: &Container, service: &str) -> String {
    let path = format!("/run/service/{service}");
    container.exec(&[SVSTAT, &path]).succeeds().to_owned()
}

fn pid_of(container: &Container, service: &str) -> u64 {
    container
        .service_field(service, "pid")
        .as_u64()
        .unwrap_or_else(|| panic!("{service} has no pid"))
}

fn uids_of(container: &Container, pid: u64) -> String {
    let script = format!("grep ^Uid: /proc/{pid}/status");
    let line = container.sh(&script).succeeds().to_owned();
    line.split_whitespace()
        .skip(1)
        .collect::<Vec<_>>()
        .join(" ")
}

fn intent(container: &Container, profile: &str) -> String {
    let path = format!("{HOME}/profiles/{profile}/.herm/desired.json");
    let record = container.exec(&["cat", &path]).json();
    record["state"].as_str().unwrap_or_default().to_owned()
}

/// One long test, because every start of a real gateway takes seconds.
#[test]
fn l76_the_agents_own_commands_register_start_stop_and_what_ran_is_restored() {
    let volume = Volume::new();
    let container = started(&agents(&volume));
    for (profile, port) in [("ada", 9411), ("bob", 9412)] {
        agent(&container, &["profile", "create", profile, "--no-skills"]);
        settings(&container, profile, port);
        let slot = svstat(&container, &format!("gateway-{profile}"));
        assert!(slot.starts_with("down"), "created is not started: {slot}");
    }
    agent(&container, &["-p", "ada", "gateway", "start"]);
    container.wait_healthy(9411);
    assert!(svstat(&container, "gateway-ada").starts_with("up (pid "));
    let first = pid_of(&container, "gateway-ada");
    assert_eq!(uids_of(&container, first), "10000 10000 10000 10000");
    let status = container.exec(&["hermes", "-p", "ada", "gateway", "status"]);
    assert!(status.succeeds().contains("running"), "{status}");

    agent(&container, &["-p", "ada", "gateway", "restart"]);
    wait_until("another process serves ada", || {
        let ada = container.service("gateway-ada");
        ada.is_some_and(|ada| ada["pid"].as_u64().is_some_and(|pid| pid != first))
    });
    container.wait_healthy(9411);

    // herm's verbs and the agent's are about the same services and the same intent.
    container
        .exec(&["herm", "-p", "ada", "gateway", "stop"])
        .succeeds();
    assert!(svstat(&container, "gateway-ada").starts_with("down"));
    agent(&container, &["-p", "ada", "gateway", "start"]);
    agent(&container, &["-p", "bob", "gateway", "start"]);
    container.wait_states(&[("gateway-ada", "running"), ("gateway-bob", "running")]);
    container.wait_healthy(9412);
    agent(&container, &["-p", "bob", "gateway", "stop"]);
    container.wait_states(&[("gateway-bob", "down")]);
    wait_until("both orders are recorded", || {
        intent(&container, "ada") == "running" && intent(&container, "bob") == "stopped"
    });

    container.wait_healthy(9411);
    container.stop();
    let state = "cat /opt/data/profiles/ada/gateway_state.json";
    let said = Container::of(&image())
        .volume(&volume, HOME)
        .flag("--entrypoint=sh")
        .command(&["-c", state])
        .run_to_end();
    assert_eq!(
        said.json()["gateway_state"],
        "stopped",
        "this agent takes every TERM for a stop"
    );
    container.start();
    container.wait_healthy(9411);
    container.wait_states(&[
        ("gateway-ada", "running"),
        ("gateway-bob", "down"),
        ("gateway-default", "down"),
    ]);
    assert!(!container.is_healthy(9412));
}

#[test]
fn gateway_run_as_cmd_is_supervised_and_outlives_its_crash() {
    let volume = Volume::new();
    let options = Container::of(&image())
        .volume(&volume, HOME)
        .env("API_SERVER_ENABLED", "true")
        .env("API_SERVER_KEY", API_KEY)
        .command(&["gateway", "run"]);
    let container = options.run();
    container.wait_healthy(8642);
    let first = pid_of(&container, "gateway-default");
    container
        .exec(&["sh", "-c", &format!("kill -9 {first}")])
        .succeeds();
    wait_until("the gateway is another process", || {
        let service = container.service("gateway-default");
        service.is_some_and(|it| it["state"] == "running" && it["pid"].as_u64() != Some(first))
    });
    assert!(container.is_running());
}

#[test]
fn l44_a_dashboard_that_is_off_is_down_and_its_user_sees_and_controls_the_static_services() {
    let container = started(&Container::of(&image()).command(&["sleep", "infinity"]));
    wait_until("the dashboard has ended", || {
        svstat(&container, "dashboard").starts_with("down")
    });
    container.wait_states(&[("dashboard", "disabled"), ("main-hermes", "running")]);
    let status = container.exec(&["herm", "status"]).succeeds().to_owned();
    assert!(!status.contains("parked"), "{status}");
    let first = pid_of(&container, "main-hermes");
    container
        .exec(&["/command/s6-svc", "-t", "/run/service/main-hermes"])
        .succeeds();
    let is_another = |than: u64| {
        wait_until("main-hermes is another process", || {
            let service = container.service("main-hermes");
            service.is_some_and(|it| it["pid"].as_u64().is_some_and(|pid| pid != than))
        });
        pid_of(&container, "main-hermes")
    };
    let second = is_another(first);
    container
        .exec(&["herm", "service", "restart", "main-hermes"])
        .succeeds();
    is_another(second);
    // Orders are all that it may give.
    let env = container.exec(&["herm", "service", "env", "main-hermes"]);
    env.exits(5);
    let remove = container.exec(&["herm", "service", "remove", "main-hermes"]);
    remove.exits(5);
}

#[test]
fn l90_a_dashboard_that_is_asked_for_serves_and_comes_back() {
    let options = Container::of(&image()).env("HERMES_DASHBOARD", "1");
    let container = started(&options.command(&["sleep", "infinity"]));
    let serves = || {
        wait_until("the dashboard serves", || {
            let answer = container.http_get(9119, "/index.html");
            answer.is_some_and(|answer| answer.status == 200)
        });
    };
    serves();
    let first = pid_of(&container, "dashboard");
    assert_eq!(uids_of(&container, first), "10000 10000 10000 10000");
    container
        .exec(&["sh", "-c", &format!("kill -9 {first}")])
        .succeeds();
    wait_until("it is another process", || {
        let service = container.service("dashboard");
        service.is_some_and(|it| it["pid"].as_u64().is_some_and(|pid| pid != first))
    });
    serves();
}

#[test]
fn the_wrapper_gives_cmd_its_user_its_exit_code_and_the_agent_the_rest() {
    let run = |words: &[&str]| Container::of(&image()).command(words).run_to_end();
    run(&["sh", "-c", "exit 7"]).exits(7);
    run(&["sh", "-c", "kill -9 $$"]).exits(137);
    let version = run(&["--version"]);
    assert!(version.succeeds().contains("v0.15.2"), "{version}");
    let script = "id -u; id -g; pwd; echo $HOME";
    let told = run(&["sh", "-c", script]);
    assert!(
        told.succeeds()
            .contains("10000\n10000\n/opt/hermes\n/opt/data"),
        "{told}"
    );
}

#[test]
fn l45_orphans_are_reaped() {
    let volume = Volume::new();
    let container = started(&agents(&volume));
    container
        .sh("for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'true' &) ; done")
        .succeeds();
    wait_until("no process is a zombie", || {
        let zombies = "! grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null";
        container.sh(zombies).is_success()
    });
}

#[test]
fn l46_a_terminal_is_the_main_programs() {
    let options = Container::of(&image())
        .env("PS1", "prompt> ")
        .env("HERM_LOG", "warn")
        .env("HERM_LOG_STDOUT", "none");
    let shell = options.command(&["bash", "--norc", "-i"]);
    let (_container, mut terminal) = shell.run_in_terminal();
    terminal.wait_for("prompt> ");
    terminal.type_in("echo uid=$(id -u) on $(tty)\r");
    terminal.wait_for("uid=10000 on /dev/");
    // What is typed doesn't have the word: it comes from the program that has the terminal by then.
    terminal.type_in("sh -c 'echo star''ted; exec sleep 1000'\r");
    terminal.wait_for("started");
    terminal.type_in("\x03");
    terminal.wait_for("prompt> ");
    terminal.type_in("exit 3\r");
    assert_eq!(terminal.exit_code(), Some(3));
}

/// On the genuine article each of these is a way to become root.
#[test]
fn l23_the_agents_user_does_not_become_root() {
    let volume = Volume::new();
    let options = agents(&volume).env("HERMES_DASHBOARD", "1");
    let container = started(&options);
    container.wait_states(&[("dashboard", "running")]);
    // A slot of its own, one that leads to root's, and programs where root's scripts might look.
    let attack = r#"
        note='#!/bin/sh
id -u >> /opt/data/who
exec sleep infinity'
        mkdir /run/service/mine && echo "$note" > /run/service/mine/run && chmod +x /run/service/mine/run
        ln -s /run/s6-rc/servicedirs/main-hermes /run/service/planted
        mkdir -p /opt/data/.local/bin
        for name in sh s6-setuidgid sleep id cat hermes-hook with-contenv; do
            for dir in /opt/hermes/.venv/bin /opt/data/.local/bin; do
                printf '#!/bin/dash\nid=$(/usr/bin/id -u); echo "$id" >> /opt/data/who\nexec /usr/bin/%s "$@"\n' $name > $dir/$name
                chmod +x $dir/$name
            done
        done
        /command/s6-svscanctl -a /run/service"#;
    container.sh(attack).succeeds();
    container.wait_states(&[("mine", "running"), ("planted", "running")]);
    for name in ["mine", "planted"] {
        assert_eq!(
            uids_of(&container, pid_of(&container, name)),
            "10000 10000 10000 10000",
            "{name}"
        );
    }
    // Root's scripts once more: a static service's, the hooks', the wrapper's.
    let first = pid_of(&container, "dashboard");
    container
        .exec(&["sh", "-c", &format!("kill -9 {first}")])
        .succeeds();
    wait_until("root has started the dashboard again", || {
        let service = container.service("dashboard");
        service.is_some_and(|it| it["pid"].as_u64().is_some_and(|pid| pid != first))
    });
    container.restart();
    container.wait_booted();
    container.wait_states(&[("dashboard", "running"), ("main-hermes", "running")]);
    let who = container
        .exec(&["cat", "/opt/data/who"])
        .succeeds()
        .to_owned();
    assert!(!who.is_empty(), "nothing of it was ever run");
    assert!(who.lines().all(|uid| uid == "10000"), "{who}");
    let ends_all = container.exec(&["/command/s6-svscanctl", "-t", "/run/service"]);
    assert!(container.is_running(), "{ends_all}");
}

/// By the agent's own manager, while the profile stays.
#[test]
fn a_slot_that_was_taken_away_stays_away_until_somebody_wants_it() {
    let volume = Volume::new();
    let container = started(&agents(&volume));
    agent(&container, &["profile", "create", "ada", "--no-skills"]);
    let manager = "from hermes_cli.service_manager import S6ServiceManager as M; ";
    let unregister = || {
        python(
            &container,
            &format!("{manager}M().unregister_profile_gateway('ada')"),
        );
        wait_until("it is unregistered", || {
            container.service("gateway-ada").is_none()
        });
    };
    unregister();
    assert!(
        !container
            .sh("test -e /run/service/gateway-ada")
            .is_success(),
        "the agent has removed it"
    );
    container.exec(&["herm", "reconcile"]).succeeds();
    assert!(container.service("gateway-ada").is_none());
    let status = container.exec(&["herm", "-p", "ada", "gateway", "status"]);
    status.exits(4);
    // Somebody publishes it again.
    python(
        &container,
        &format!("{manager}M().register_profile_gateway('ada')"),
    );
    container.wait_states(&[("gateway-ada", "down")]);
    unregister();
    container
        .exec(&["herm", "-p", "ada", "gateway", "start"])
        .succeeds();
    container
        .exec(&["herm", "-p", "ada", "gateway", "stop"])
        .succeeds();
    unregister();
    container.restart();
    container.wait_booted();
    container.wait_states(&[("gateway-ada", "down")]);
}

/// What is called like a gateway and is no profile's is a service like any other.
#[test]
fn a_slot_without_a_profile_runs_as_its_own_files_say() {
    let volume = Volume::new();
    let container = started(&agents(&volume));
    let publish = r"
        cd /run/service && mkdir -p .new/log && printf '#!/bin/sh\necho it speaks\nexec sleep infinity\n' > .new/run
        printf '#!/bin/sh\nexec /command/s6-log /opt/data/heard\n' > .new/log/run
        chmod +x .new/run .new/log/run && mv .new gateway-nobody && /command/s6-svscanctl -a .";
    container.sh(publish).succeeds();
    container.wait_states(&[("gateway-nobody", "running")]);
    wait_until("its own logger has what it says", || {
        container
            .sh("grep -q 'it speaks' /opt/data/heard/current")
            .is_success()
    });
    container.exec(&["herm", "reconcile"]).succeeds();
    assert!(svstat(&container, "gateway-nobody").starts_with("up "));
    container
        .sh("rm -r /run/service/gateway-nobody && /command/s6-svscanctl -an /run/service")
        .succeeds();
    wait_until("it is let go", || {
        container.service("gateway-nobody").is_none()
    });
}
