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
