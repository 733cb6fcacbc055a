//! What tests ask of a container with a home: its services and their gateways.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::container::{Container, Options};
use crate::wait::wait_until;

/// A key long enough for the API server.
pub const API_KEY: &str = "a-key-for-tests-0123456789";

impl Container {
    /// Runs a container, and waits until its boot is over.
    #[track_caller]
    pub fn booted(options: &Options) -> Self {
        let container = options.run();
        container.wait_booted();
        container
    }

    /// Every service, as `herm status --json` prints it.
    #[track_caller]
    pub fn services(&self) -> Vec<Value> {
        let status = self.exec(&["herm", "status", "--json"]).json();
        status["services"]
            .as_array()
            .unwrap_or_else(|| panic!("no services in {status}"))
            .clone()
    }

    /// One service; `None` if there is none of this name.
    #[track_caller]
    pub fn service(&self, name: &str) -> Option<Value> {
        self.services()
            .into_iter()
            .find(|service| service["name"] == name)
    }

    /// A field of a service that exists.
    #[track_caller]
    pub fn service_field(&self, name: &str, field: &str) -> Value {
        let service = self
            .service(name)
            .unwrap_or_else(|| panic!("there is no service {name}"));
        service[field].clone()
    }

    /// The profiles whose gateways are running.
    #[track_caller]
    pub fn running_profiles(&self) -> BTreeSet<String> {
        self.services()
            .iter()
            .filter(|service| service["kind"] == "gateway" && service["state"] == "running")
            .filter_map(|service| Some(service["profile"].as_str()?.to_owned()))
            .collect()
    }

    /// Waits until herm answers and says that the boot is over.
    #[track_caller]
    pub fn wait_booted(&self) {
        wait_until("the boot is over", || {
            self.exec(&["herm", "status", "--json"]).is_success() && self.boot_is_over()
        });
    }

    fn boot_is_over(&self) -> bool {
        // The boot log is written before the services are started.
        self.services()
            .iter()
            .any(|service| service["name"] == "gateway-default")
    }

    /// Waits until the services' states are these: `("gateway-a", "running")`.
    #[track_caller]
    pub fn wait_states(&self, wanted: &[(&str, &str)]) {
        wait_until(&format!("the states are {wanted:?}"), || {
            let services = self.services();
            wanted.iter().all(|(name, state)| {
                services
                    .iter()
                    .any(|service| service["name"] == *name && service["state"] == *state)
            })
        });
    }

    /// Makes a profile whose API server answers on this port.
    #[track_caller]
    pub fn create_profile(&self, name: &str, port: u16) {
        self.exec(&["herm", "profile", "create", name]).succeeds();
        let settings =
            format!("API_SERVER_ENABLED=true\nAPI_SERVER_KEY={API_KEY}\nAPI_SERVER_PORT={port}\n");
        let path = format!("/opt/data/profiles/{name}/.env");
        self.exec_with_input(
            &["sh", "-c", "umask 077; cat > \"$0\"", &path],
            settings.as_bytes(),
        )
        .succeeds();
    }

    /// True if `/health` on this port answers 200.
    #[track_caller]
    pub fn is_healthy(&self, port: u16) -> bool {
        self.http_get(port, "/health")
            .is_some_and(|response| response.status == 200)
    }

    /// Waits until `/health` on this port answers 200.
    #[track_caller]
    pub fn wait_healthy(&self, port: u16) {
        wait_until(&format!("port {port} answers /health"), || {
            self.is_healthy(port)
        });
    }

    /// Owner, group and mode of each of these paths: `0:0 755`.
    #[track_caller]
    pub fn stat(&self, paths: &[&str]) -> Vec<String> {
        let argv = [&["stat", "-c", "%u:%g %a"], paths].concat();
        let output = self.exec_root("what is root's is looked at", &argv);
        output.succeeds().lines().map(str::to_owned).collect()
    }

    /// The boot log's lines.
    #[track_caller]
    pub fn boot_log(&self) -> String {
        self.exec(&["cat", "/opt/data/logs/container-boot.log"])
            .succeeds()
            .to_owned()
    }

    /// The pids and command lines of the processes whose command line starts with `prefix`.
    #[track_caller]
    pub fn processes(&self, prefix: &str) -> Vec<(u32, String)> {
        let script = "for p in /proc/[0-9]*; do echo \"${p#/proc/} $(tr '\\0' ' ' 2>/dev/null < $p/cmdline)\"; done";
        self.sh(script)
            .succeeds()
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, command)| command.starts_with(prefix))
            .filter_map(|(pid, command)| Some((pid.parse().ok()?, command.trim().to_owned())))
            .collect()
    }
}
