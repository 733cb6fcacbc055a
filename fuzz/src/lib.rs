//! What must hold for any bytes: one check for each parser of foreign bytes in herm.
//!
//! A check is a function from bytes to nothing that panics where a property is broken. The same
//! checks run under libFuzzer (`fuzz_targets`) and, on a stable toolchain, over the corpus and
//! seeded mutations of it (`tests/smoke`).
#![forbid(unsafe_code)]

pub mod accounts;
pub mod archives;
pub mod boot;
pub mod configuration;
pub mod lines;
pub mod messages;
pub mod names;
pub mod processes;
pub mod records;
pub mod s6;
pub mod state;
pub mod supervision;

// `frame`, which `lines` includes as it stands, looks for its sibling crate's module here.
use herm_init::logproto;

/// One parser's check.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the program in `fuzz_targets`, and of the directory in `corpus`.
    pub name: &'static str,
    /// Panics where the bytes break a property.
    pub check: fn(&[u8]),
    /// How much a run of it costs, compared to one that only parses.
    pub cost: usize,
}

/// A check that only computes.
const fn pure(name: &'static str, check: fn(&[u8])) -> Target {
    Target {
        name,
        check,
        cost: 1,
    }
}

/// A check that writes files.
const fn on_disk(name: &'static str, check: fn(&[u8])) -> Target {
    Target {
        name,
        check,
        cost: 20,
    }
}

/// All of them, by name.
pub const TARGETS: [Target; 36] = [
    pure("account_edit", accounts::edit),
    pure("account_files", accounts::files),
    pure("agent_state", state::agent_state),
    on_disk("archive_bytes", archives::bytes),
    on_disk("archive_entries", archives::entries),
    pure("claims", state::claims),
    pure("clock", state::clock),
    pure("config", configuration::config),
    pure("dotenv", configuration::dotenv),
    pure("engine_record", records::engine),
    on_disk("environment", boot::environment),
    pure("execline_script", s6::execline_script),
    pure("fix_attrs", s6::fix_attrs),
    pure("glob_pattern", s6::glob_pattern),
    pure("init_settings", configuration::init_settings),
    pure("intent", state::intent),
    pure("log_lines", lines::framing),
    pure("log_messages", messages::log),
    pure("log_names", lines::rotated_names),
    pure("log_script", s6::log_script),
    pure("main_program", boot::main_program),
    pure("names", names::check),
    pure("needs", configuration::needs),
    pure("proc_stat", processes::stat),
    pure("rc_sources", s6::rc_sources),
    pure("service_directory", supervision::definition),
    pure("service_marks", supervision::marks),
    pure("service_status", supervision::status),
    pure("settings", configuration::settings),
    pure("setup_plan", messages::setup_plan),
    pure("signal", processes::signal),
    on_disk("state_files", state::files),
    pure("wire_event", messages::event),
    pure("wire_lines", lines::wire),
    pure("wire_reply", messages::reply),
    pure("wire_request", messages::request),
];

/// The parts of an input that has several, separated by a zero byte; the last gets the rest.
fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
