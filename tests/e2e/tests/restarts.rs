//! Chapter 2: desired state, and what a restart brings back.

use std::collections::BTreeSet;

use herm_e2e::{API_KEY, Container, Image, Volume, wait_until};

const HOME: &str = "/opt/data";

/// A container of `herm:dev` that stays up by itself.
fn idle(volume: &Volume) -> Container {
    let container = Container::of(&Image::herm_dev())
        .volume(volume, HOME)
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
}

fn names(profiles: &[&str]) -> BTreeSet<String> {
    profiles.iter().map(|name| (*name).to_owned()).collect()
}

/// Writes a file into a volume while no herm runs on it, as the service user.
fn write_offline(volume: &Volume, path: &str, contents: &str) {
    Container::of(&Image::herm_dev())
        .volume(volume, HOME)
        .flag("--entrypoint=sh")
        .flag("--user=10000:10000")
        .command(&["-c", "cat > \"$0\"", &format!("{HOME}/{path}")])
        .run_to_end_with_input(contents.as_bytes())
        .succeeds();
}

/// The four ways in which a container goes away and comes back.
#[derive(Clone, Copy, Debug)]
enum Way {
    Restart,
    StopAndStart,
    KillAndStart,
    Recreate,
}

fn come_back(way: Way, container: Container, volume: &Volume) -> Container {
    match way {
        Way::Restart => container.restart(),
        Way::StopAndStart => {
            container.stop();
            container.start();
        }
        Way::KillAndStart => {
            container.kill("KILL");
            container.wait();
            container.start();
        }
        Way::Recreate => {
            drop(container);
            return idle(volume);
        }
    }
    container.wait_booted();
    container
}

#[test]
fn every_way_of_restarting_brings_back_exactly_what_was_desired() {
    let volume = Volume::new();
    let mut container = idle(&volume);
    for name in ["alpha", "beta", "gamma"] {
        container
            .exec(&["herm", "profile", "create", name])
            .succeeds();
    }
    for name in ["alpha", "beta"] {
        container
            .exec(&["herm", "-p", name, "gateway", "start"])
            .succeeds();
    }
    container
        .exec(&["herm", "-p", "beta", "gateway", "stop"])
        .succeeds();
    for way in [
        Way::Restart,
        Way::StopAndStart,
        Way::KillAndStart,
        Way::Recreate,
    ] {
        container = come_back(way, container, &volume);
        container.wait_states(&[
            ("gateway-alpha", "running"),
            ("gateway-beta", "down"),
            ("gateway-gamma", "down"),
            ("gateway-default", "down"),
        ]);
        assert_eq!(container.running_profiles(), names(&["alpha"]), "{way:?}");
    }
}

#[test]
fn l01_stopping_the_container_is_no_order() {
    let volume = Volume::new();
    let container = idle(&volume);
    container.exec(&["herm", "gateway", "start"]).succeeds();
    container.stop();
    let record = Container::of(&Image::herm_dev())
        .volume(&volume, HOME)
        .flag("--entrypoint=cat")
        .command(&["/opt/data/.herm/desired.json"])
        .run_to_end();
    assert_eq!(record.json()["state"], "running");
    container.start();
    container.wait_states(&[("gateway-default", "running")]);
}

/// The agent's own state files decide where no order was ever given.
#[test]
fn l02_a_home_from_elsewhere_is_restored_by_the_agents_own_state() {
    let volume = Volume::new();
    let container = idle(&volume);
    let states = [
        ("running", true),
        ("draining", true),
        ("degraded", true),
        ("starting", false),
        ("startup_failed", false),
        ("stopped", false),
        ("nonsense", false),
    ];
    for (state, _) in states {
        container
            .exec(&[
                "herm",
                "profile",
                "create",
                &format!("was-{}", state.replace('_', "-")),
            ])
            .succeeds();
    }
    container.stop();
    for (state, _) in states {
        write_offline(
            &volume,
            &format!(
                "profiles/was-{}/gateway_state.json",
                state.replace('_', "-")
            ),
            &format!("{{\"gateway_state\":\"{state}\",\"pid\":4242}}"),
        );
    }
    container.start();
    container.wait_booted();
    let wanted: Vec<(String, &str)> = states
        .iter()
        .map(|(state, up)| {
            let name = format!("gateway-was-{}", state.replace('_', "-"));
            (name, if *up { "running" } else { "down" })
        })
        .collect();
    let wanted: Vec<(&str, &str)> = wanted
        .iter()
        .map(|(name, state)| (name.as_str(), *state))
        .collect();
    container.wait_states(&wanted);
    let log = container.boot_log();
    for (state, up) in states {
        let action = if up { "started" } else { "registered" };
        let line = format!(
            "profile=was-{} prior_state={state} action={action}",
            state.replace('_', "-")
        );
        assert!(log.contains(&line), "no {line:?} in\n{log}");
    }
}

#[test]
fn l03_gateway_run_on_a_home_without_state_means_running() {
    let volume = Volume::new();
    let container = Container::of(&Image::herm_dev())
        .volume(&volume, HOME)
        .command(&["gateway", "run"])
        .run();
    container.wait_booted();
    container.wait_states(&[("gateway-default", "running")]);
    assert!(container.is_running());
}

#[test]
fn l04_a_profile_made_in_the_home_by_hand_is_discovered_live() {
    let volume = Volume::new();
    let container = idle(&volume);
    container
        .sh("mkdir -p /opt/data/profiles/handmade && echo soul > /opt/data/profiles/handmade/SOUL.md")
        .succeeds();
    container.wait_states(&[("gateway-handmade", "down")]);
    container.sh("rm -r /opt/data/profiles/handmade").succeeds();
    wait_until("the service is gone", || {
        container.service("gateway-handmade").is_none()
    });
}

#[test]
fn l05_a_corrupt_state_file_is_kept_aside_and_harms_no_other_profile() {
    let volume = Volume::new();
    let container = idle(&volume);
    for name in ["broken", "sound"] {
        container
            .exec(&["herm", "profile", "create", name])
            .succeeds();
        container
            .exec(&["herm", "-p", name, "gateway", "start"])
            .succeeds();
    }
    container.stop();
    write_offline(
        &volume,
        "profiles/broken/.herm/desired.json",
        "{\"state\": \"runn",
    );
    write_offline(
        &volume,
        "profiles/broken/gateway_state.json",
        "\u{0}\u{1}{{{",
    );
    container.start();
    container.wait_booted();
    container.wait_states(&[("gateway-sound", "running"), ("gateway-broken", "down")]);
    let aside = container.sh("cd /opt/data/profiles/broken && ls -A . .herm");
    assert_eq!(aside.succeeds().matches(".corrupt-").count(), 2, "{aside}");
}

#[test]
fn the_boot_log_names_default_first_and_then_the_profiles_in_order() {
    let volume = Volume::new();
    let container = idle(&volume);
    for name in ["zulu", "alpha"] {
        container
            .exec(&["herm", "profile", "create", name])
            .succeeds();
    }
    container.restart();
    container.wait_booted();
    wait_until("the second boot is logged", || {
        container.boot_log().matches("profile=default").count() == 2
    });
    let log = container.boot_log();
    let second_boot: Vec<&str> = log.lines().rev().take(3).collect();
    let profiles: Vec<&str> = second_boot
        .iter()
        .rev()
        .map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(
                time.contains('T') && time.len() >= 20,
                "no RFC 3339 time: {line}"
            );
            rest.split_once(' ').unwrap().0
        })
        .collect();
    assert_eq!(
        profiles,
        ["profile=default", "profile=alpha", "profile=zulu"]
    );
    assert!(container.logs().contains("reconcile: "));
}

#[test]
fn l06_pid_files_of_the_last_boot_are_swept_and_no_such_pid_is_touched() {
    let volume = Volume::new();
    let container = idle(&volume);
    container
        .exec(&["herm", "profile", "create", "old"])
        .succeeds();
    container.stop();
    write_offline(&volume, "profiles/old/gateway.pid", "1");
    write_offline(&volume, "profiles/old/processes.json", "[]");
    container.start();
    container.wait_booted();
    wait_until("the files are swept", || {
        container
            .sh("cd /opt/data/profiles/old; ! [ -e gateway.pid ] && ! [ -e processes.json ]")
            .is_success()
    });
    assert!(container.is_running());
}

#[test]
fn l07_stop_all_holds() {
    let volume = Volume::new();
    let container = idle(&volume);
    container
        .exec(&["herm", "profile", "create", "one"])
        .succeeds();
    container
        .exec(&["herm", "gateway", "start", "--all"])
        .succeeds();
    container.wait_states(&[("gateway-one", "running"), ("gateway-default", "running")]);
    container
        .exec(&["herm", "gateway", "stop", "--all"])
        .succeeds();
    // A full pass of the keeper would start whatever is still wanted.
    container.exec(&["herm", "reconcile"]).succeeds();
    assert_eq!(container.running_profiles(), names(&[]));
    container.restart();
    container.wait_booted();
    container.exec(&["herm", "reconcile"]).succeeds();
    assert_eq!(container.running_profiles(), names(&[]));
}

#[test]
fn l08_a_restart_asked_for_by_the_gateway_itself_is_carried_out() {
    let volume = Volume::new();
    let container = idle(&volume);
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let before = container.service_field("gateway-default", "pid");
    container
        .exec(&["herm", "gateway", "restart", "--no-wait"])
        .succeeds();
    wait_until("another process serves", || {
        container
            .service("gateway-default")
            .is_some_and(|service| service["state"] == "running" && service["pid"] != before)
    });
}

/// The agent rewrites its state file at any time; intent is not kept there.
#[test]
fn l75_what_the_agent_writes_into_its_state_file_changes_no_intent() {
    let volume = Volume::new();
    let container = idle(&volume);
    container.exec(&["herm", "gateway", "start"]).succeeds();
    container
        .sh("echo '{\"gateway_state\":\"stopped\",\"desired_state\":\"stopped\"}' > /opt/data/gateway_state.json")
        .succeeds();
    container.restart();
    container.wait_booted();
    container.wait_states(&[("gateway-default", "running")]);
}

/// Agents of the seeds' era write `stopped` on every TERM; the record has the last word.
#[test]
fn l76_a_gateway_that_writes_stopped_while_it_is_stopped_comes_back() {
    let volume = Volume::new();
    let container = idle(&volume);
    container.exec(&["herm", "gateway", "start"]).succeeds();
    container.stop();
    write_offline(
        &volume,
        "gateway_state.json",
        "{\"gateway_state\":\"stopped\"}",
    );
    container.start();
    container.wait_booted();
    container.wait_states(&[("gateway-default", "running")]);
}

/// An order of want is one by whatever tool; a mere signal is none.
#[test]
fn orders_by_s6s_own_tool_are_recorded() {
    let volume = Volume::new();
    let container = idle(&volume);
    let path = "/run/service/gateway-default";
    let state = || {
        let record = container.exec(&["cat", "/opt/data/.herm/desired.json"]);
        (record.is_success()).then(|| {
            let record = record.json();
            (
                record["generation"].as_u64().unwrap(),
                record["state"].as_str().unwrap().to_owned(),
            )
        })
    };
    let mut generation = 0;
    for (order, wanted, observed) in [
        ("-u", "running", "running"),
        ("-d", "stopped", "down"),
        ("-U", "running", "running"),
        ("-O", "stopped", "running"),
        ("-D", "stopped", "down"),
        ("-o", "stopped", "running"),
        ("-u", "running", "running"),
    ] {
        container.exec(&["/command/s6-svc", order, path]).succeeds();
        wait_until(&format!("{order} is recorded as {wanted}"), || {
            state().is_some_and(|(now, word)| now > generation && word == wanted)
        });
        container.wait_states(&[("gateway-default", observed)]);
        generation = state().unwrap().0;
    }
    let before = container.service_field("gateway-default", "pid");
    container.exec(&["/command/s6-svc", "-t", path]).succeeds();
    wait_until("another process serves", || {
        container
            .service("gateway-default")
            .is_some_and(|service| service["state"] == "running" && service["pid"] != before)
    });
    container.restart();
    container.wait_booted();
    container.wait_states(&[("gateway-default", "running")]);
    assert_eq!(state().unwrap(), (generation, "running".to_owned()));
}

#[test]
fn l88_runtime_state_of_the_last_boot_is_recognised_and_swept() {
    let volume = Volume::new();
    let container = idle(&volume);
    // In plain Docker /run is part of the container's own layer and survives `docker restart`.
    container.kill("KILL");
    container.wait();
    container.start();
    container.wait_booted();
    assert!(container.exec(&["herm", "status"]).is_success());
}

/// The API key only serves to show that a profile's own settings reach its own gateway alone.
#[test]
fn l53_a_clone_gets_neither_port_nor_key_of_its_source() {
    let volume = Volume::new();
    let container = idle(&volume);
    container.create_profile("source", 9301);
    container
        .exec(&[
            "herm",
            "profile",
            "create",
            "copy",
            "--clone",
            "--clone-from",
            "source",
        ])
        .succeeds();
    let env = container.sh("cat /opt/data/profiles/copy/.env 2>/dev/null; true");
    assert!(
        !env.stdout.contains("9301") && !env.stdout.contains(API_KEY),
        "{env}"
    );
}
