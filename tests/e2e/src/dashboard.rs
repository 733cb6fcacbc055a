//! A container's dashboard, spoken to from outside it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use crate::container::{Container, Options};
use crate::http::{Response, request};
use crate::wait::{HANG_GUARD, wait_until};

/// The port it has in the container.
const PORT: u16 = 9119;

impl Options {
    /// With a dashboard that a port of this machine's loopback leads to. It asks for a login, for it
    /// listens on every address of the container.
    #[must_use]
    pub fn dashboard(self) -> Self {
        self.env("HERMES_DASHBOARD", "1")
            .env("HERMES_DASHBOARD_HOST", "0.0.0.0")
            .flag(&format!("--publish=127.0.0.1::{PORT}"))
    }
}

/// A dashboard that serves.
#[derive(Debug, Clone)]
pub struct Dashboard {
    port: u16,
    token: String,
}

impl Container {
    /// Its dashboard, which serves when this returns; programs' requests carry the home's token.
    #[track_caller]
    pub fn dashboard(&self) -> Dashboard {
        let mut dashboard = Dashboard {
            port: self.published(PORT),
            token: String::new(),
        };
        wait_until("the dashboard serves", || {
            dashboard
                .try_get("/healthz")
                .is_some_and(|answer| answer.status == 200)
        });
        let token = self.exec(&["herm", "dashboard", "token", "show"]);
        token.succeeds().clone_into(&mut dashboard.token);
        dashboard
    }

    /// The port of this machine that leads to one of the container's.
    #[track_caller]
    fn published(&self, port: u16) -> u16 {
        let path = format!("(index (index .NetworkSettings.Ports \"{port}/tcp\") 0).HostPort");
        let found = self.inspect(&path);
        let number = found.as_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("port {port} is not published: {found}"))
    }

    /// A new token with this scope.
    #[track_caller]
    pub fn dashboard_token(&self, name: &str, scope: &str) -> String {
        let argv = ["herm", "dashboard", "token", "add", name, "--scope", scope];
        self.exec(&argv).succeeds().to_owned()
    }
}

impl Dashboard {
    /// The same with another token, or with none where it is empty.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            port: self.port,
            token: token.to_owned(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The token that its requests carry.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Asks for a path; fails the test if nothing answers.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], "")
    }

    /// As [`Dashboard::get`], with any method, headers and body.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let answer = self.try_ask(method, path, headers, body);
        answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// As [`Dashboard::get`]; `None` where nothing answers.
    pub fn try_get(&self, path: &str) -> Option<Response> {
        self.try_ask("GET", path, &[], "")
    }

    fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Response> {
        let bearer = format!("Bearer {}", self.token);
        let mut all = headers.to_vec();
        if !self.token.is_empty() {
            all.push(("Authorization", &bearer));
        }
        let mut stream = self.connect()?;
        let message = request(method, path, &all, body);
        // A server that refuses a body may close before it has read all of it.
        let _ = stream.write_all(message.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Response::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Begins a request and leaves its answer to the caller, who may never read it.
    pub fn open(&self, path: &str) -> Option<TcpStream> {
        let mut stream = self.connect()?;
        let bearer = format!("Bearer {}", self.token);
        let message = request("GET", path, &[("Authorization", &bearer)], "");
        stream.write_all(message.as_bytes()).ok()?;
        Some(stream)
    }

    /// Sends bytes as they are and gives what comes back until the other end closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let Some(mut stream) = self.connect() else {
            return String::new();
        };
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(HANG_GUARD)).ok()?;
        Some(stream)
    }
}

/// A program that judges herm from outside, as `cargo xtask test e2e` has prepared it.
#[track_caller]
pub fn tool(path: &str) -> Command {
    let Some(tools) = std::env::var_os("HERM_E2E_TOOLS") else {
        panic!("{path} is needed: run `cargo xtask test e2e`, which prepares it");
    };
    Command::new(PathBuf::from(tools).join(path))
}
