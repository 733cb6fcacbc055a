//! The real Hermes Agent's gateways under herm, end to end.

use herm_e2e::{Container, Image, Volume, wait_until};

const HOME: &str = "/opt/data";
const PORTS: [(&str, u16); 3] = [("ada", 9401), ("bob", 9402), ("cyd", 9403)];

fn agents(volume: &Volume) -> Container {
    let container = Container::of(&Image::hermes())
        .volume(volume, HOME)
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
}

fn pid_of(container: &Container, service: &str) -> u64 {
    container
        .service_field(service, "pid")
        .as_u64()
        .unwrap_or_else(|| panic!("{service} has no pid"))
}

/// One long test, because every start of a real gateway takes seconds: three profiles made as the
/// service user, two started, one healed, one stopped, and all four ways of coming back.
#[test]
fn real_gateways_are_supervised_controlled_without_root_and_restored_exactly() {
    let volume = Volume::new();
    let mut container = agents(&volume);
    for (name, port) in PORTS {
        container.create_profile(name, port);
    }
    for name in ["ada", "bob"] {
        container
            .exec(&["herm", "-p", name, "gateway", "start"])
            .succeeds();
    }
    container.wait_healthy(9401);
    container.wait_healthy(9402);
    assert!(!container.is_healthy(9403), "nobody started cyd");
    a_killed_gateway_is_healed(&container);
    container
        .exec(&["herm", "-p", "bob", "gateway", "stop"])
        .succeeds();
    assert!(!container.is_healthy(9402));
    for way in 0..4 {
        match way {
            0 => container.restart(),
            1 => {
                container.stop();
                container.start();
            }
            2 => {
                container.kill("KILL");
                container.wait();
                container.start();
            }
            _ => {
                drop(container);
                container = agents(&volume);
            }
        }
        container.wait_booted();
        container.wait_healthy(9401);
        container.exec(&["herm", "reconcile"]).succeeds();
        container.wait_states(&[
            ("gateway-ada", "running"),
            ("gateway-bob", "down"),
            ("gateway-cyd", "down"),
        ]);
        assert!(!container.is_healthy(9402) && !container.is_healthy(9403));
    }
    let log = container.boot_log();
    for line in [
        "profile=ada prior_state=running action=started",
        "profile=bob prior_state=stopped action=registered",
        "profile=cyd prior_state=None action=registered",
    ] {
        assert!(log.contains(line), "no {line:?} in\n{log}");
    }
}

fn a_killed_gateway_is_healed(container: &Container) {
    let before = pid_of(container, "gateway-ada");
    // Only a gateway that has been up for a second has its first failure forgiven at once.
    wait_until("ada is up for two seconds", || {
        container.service_field("gateway-ada", "uptime_s").as_f64() > Some(2.0)
    });
    container
        .exec(&["sh", "-c", &format!("kill -9 {before}")])
        .succeeds();
    wait_until("ada runs again", || {
        container
            .service("gateway-ada")
            .is_some_and(|ada| ada["state"] == "running" && ada["pid"] != before)
    });
    container.wait_healthy(9401);
    assert_eq!(
        container.service_field("gateway-ada", "last_exit")["signal"],
        9
    );
}

/// The launch that herm generates is what the agent's own command line understands.
#[test]
fn the_agent_knows_that_it_came_with_an_image() {
    let version = Container::of(&Image::hermes())
        .command(&["--version"])
        .run_to_end();
    let told = version.succeeds();
    assert!(told.contains("Install method: docker"), "{version}");
}

#[test]
fn l56_the_default_profiles_generated_launch_runs_the_real_agent() {
    let volume = Volume::new();
    let container = Container::of(&Image::hermes())
        .volume(&volume, HOME)
        .env("API_SERVER_ENABLED", "true")
        .env("API_SERVER_KEY", herm_e2e::API_KEY)
        .command(&["gateway", "run"])
        .run();
    container.wait_booted();
    container.wait_healthy(8642);
    container.wait_states(&[("gateway-default", "running")]);
}

/// The agent asks s6's tools; they and herm's own verbs are about the same services.
#[test]
fn the_agents_own_commands_and_herms_mix_on_the_same_services_and_intent() {
    let volume = Volume::new();
    let container = agents(&volume);
    let agent = |words: &[&str]| {
        let argv: Vec<&str> = std::iter::once("hermes")
            .chain(words.iter().copied())
            .collect();
        container.exec(&argv).succeeds().to_owned()
    };
    let herm = |words: &[&str]| {
        let argv: Vec<&str> = std::iter::once("herm")
            .chain(words.iter().copied())
            .collect();
        container.exec(&argv).succeeds().to_owned()
    };
    let recorded = |wanted: &str| {
        wait_until(&format!("the record says {wanted}"), || {
            let path = "/opt/data/profiles/dot/.herm/desired.json";
            let record = container.exec(&["cat", path]);
            record.is_success() && record.json()["state"] == wanted
        });
    };
    agent(&["profile", "create", "dot", "--no-skills"]);
    container.wait_states(&[("gateway-dot", "down")]);
    container
        .exec_with_input(
            &["sh", "-c", "umask 077; cat > /opt/data/profiles/dot/.env"],
            format!(
                "API_SERVER_ENABLED=true\nAPI_SERVER_KEY={}\nAPI_SERVER_PORT=9404\n",
                herm_e2e::API_KEY
            )
            .as_bytes(),
        )
        .succeeds();
    agent(&["-p", "dot", "gateway", "start"]);
    container.wait_healthy(9404);
    recorded("running");
    let status = agent(&["-p", "dot", "gateway", "status"]);
    assert!(status.contains("running"), "{status}");
    let first = pid_of(&container, "gateway-dot");

    herm(&["-p", "dot", "gateway", "stop"]);
    recorded("stopped");
    assert!(!container.is_healthy(9404));
    agent(&["-p", "dot", "gateway", "start"]);
    container.wait_healthy(9404);
    agent(&["-p", "dot", "gateway", "restart"]);
    wait_until("another process serves", || {
        container.service("gateway-dot").is_some_and(|dot| {
            dot["state"] == "running" && dot["pid"].as_u64().is_some_and(|pid| pid != first)
        })
    });
    herm(&["-p", "dot", "gateway", "restart"]);
    container.wait_healthy(9404);
    recorded("running");

    agent(&["-p", "dot", "gateway", "stop"]);
    container.wait_states(&[("gateway-dot", "down")]);
    recorded("stopped");
    container.restart();
    container.wait_booted();
    container.wait_states(&[("gateway-dot", "down")]);
    agent(&["profile", "delete", "dot", "-y"]);
    wait_until("the service is gone", || {
        container.service("gateway-dot").is_none()
    });
    let left = container.sh("ls -A /run/service").succeeds().to_owned();
    assert!(!left.contains("dot"), "{left}");
}

/// As the agent's command does it, without paying for the start of its interpreter each time.
const CREATE_AND_DELETE: &str = r#"
import os, subprocess, sys, time
from hermes_cli import profiles
name, times = sys.argv[1], int(sys.argv[2])
slot = f"/run/service/gateway-{name}"
def until(what, so):
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline, f"{name}: never {what}"
        time.sleep(0.01)
def supervised():
    return subprocess.run(["/command/s6-svok", slot]).returncode == 0
for _ in range(times):
    profiles.create_profile(name, no_alias=True, no_skills=True)
    until("supervised", supervised)
    until("down", lambda: b"down" in subprocess.run(["/command/s6-svstat", slot], capture_output=True).stdout)
    profiles.delete_profile(name, yes=True)
    until("gone", lambda: not os.path.exists(slot) and not os.path.exists(f"/opt/data/profiles/{name}"))
"#;

#[test]
fn l83_the_agent_creates_and_deletes_profiles_200_times_with_the_keeper_live() {
    let volume = Volume::new();
    let container = agents(&volume);
    let python = "/opt/hermes/.venv/bin/python3";
    let all = r#"for name in ann ben cat dan; do "$0" -c "$1" $name 10 > /tmp/$name 2>&1 & eval $name=$!; done
        for name in ann ben cat dan; do eval wait \$$name || { tail -n 30 /tmp/$name; exit 1; }; done"#;
    for _ in 0..5 {
        container
            .exec(&["bash", "-c", all, python, CREATE_AND_DELETE])
            .succeeds();
    }
    container.exec(&["herm", "reconcile"]).succeeds();
    let gateways = container
        .services()
        .iter()
        .filter(|service| service["kind"] == "gateway")
        .count();
    assert_eq!(gateways, 1, "only the default profile's is left");
    let left = container.sh("ls -A /run/service").succeeds().to_owned();
    for name in ["ann", "ben", "cat", "dan"] {
        assert!(!left.contains(name), "{left}");
    }
    assert!(container.service_field("keeper", "restarts") == 0);
}
