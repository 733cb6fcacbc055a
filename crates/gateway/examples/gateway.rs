//! Runs the gateway of one profile: `gateway HOME PROFILE [PORT]`.
//!
//! For the tests, which need it as a process of its own, and for trying it by hand.

use std::process::ExitCode;

use herm_gateway::{Options, run};
use herm_home::{Home, ProfileName};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(home), Some(name)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: gateway HOME PROFILE [PORT]");
        return ExitCode::from(2);
    };
    let name = match ProfileName::from_input(&name) {
        Ok(name) => name,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut options = Options::new(Home::new(home).profile(&name));
    options.port = arguments.next().and_then(|port| port.parse().ok());
    ExitCode::from(run(&options))
}
