//! What a profile may take from another one.
//!
//! Never what is unique (L53): a bot's token, a port, a login that rotates, the session of a chat
//! service. The agent's own `--clone` copies them, and the two gateways then end each other in
//! turn. Here the clone gets an API server with a key and a port of its own where the source had
//! one, and a note for everything else that was left out.

use std::io::Read as _;
use std::time::SystemTime;

use rustix::fs::FileType;

use crate::claims::Needs;
use crate::config::{self, Config};
use crate::discover::discover;
use crate::dotenv::{self, Dotenv};
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{AUTH, CONFIG, DOTENV, HERM_DIR, Home, SOUL};
use crate::name::ProfileName;
use crate::ports::{self, Ports};
use crate::runtime::is_runtime;
use crate::tree;
use crate::unique::{API_SERVER, is_unique};

/// Largest SOUL.md or memory that is copied, in bytes.
const MAX_TEXT: u64 = 16 << 20;
const MEMORIES: [&str; 2] = ["MEMORY.md", "USER.md"];

/// Left out of a full clone wherever it comes from: history, and what one profile only can use.
const NOT_CLONED: [&str; 17] = [
    AUTH,
    CONFIG,
    DOTENV,
    "backups",
    "checkpoints",
    "logs",
    "matrix",
    "pairing",
    "platforms",
    "response_store.db",
    "sessions",
    "state-snapshots",
    "state.db",
    "state.db-shm",
    "state.db-wal",
    "whatsapp",
    "whatsapp_cloud",
];

/// Left out of a full clone of the root profile as well: what belongs to the home as a whole.
const OF_THE_HOME: [&str; 10] = [
    ".cache",
    ".install_method",
    ".local",
    ".worktrees",
    "active_profile",
    "bin",
    "herm.toml",
    "hermes-agent",
    "node_modules",
    "profiles",
];

/// Copies configuration, environment, persona, skills and memories into `to`.
pub(super) fn config(
    home: &Home,
    source: &ProfileName,
    name: &ProfileName,
    to: &Dir,
    now: SystemTime,
) -> Result<Vec<String>, HomeError> {
    let from = open_source(home, source)?;
    copy_text(&from, to, SOUL, 0o644)?;
    if let Some(memories) = from.child("memories")? {
        let target = to.ensure_child("memories", 0o755)?;
        for file in MEMORIES {
            copy_text(&memories, &target, file, 0o644)?;
        }
    }
    if let Some(skills) = from.child("skills")? {
        tree::copy(&skills, &to.ensure_child("skills", 0o755)?, &|path, _| {
            !is_runtime(path)
        })?;
    }
    settings(home, source, name, &from, to, now)
}

/// Copies everything that a profile may have from another into `to`.
pub(super) fn all(
    home: &Home,
    source: &ProfileName,
    name: &ProfileName,
    to: &Dir,
    now: SystemTime,
) -> Result<Vec<String>, HomeError> {
    let from = open_source(home, source)?;
    let of_the_home = |path: &str| source.is_default() && OF_THE_HOME.contains(&path);
    let wanted = |path: &str, _: FileType| {
        !is_runtime(path) && !NOT_CLONED.contains(&path) && !of_the_home(path)
    };
    tree::copy(&from, to, &wanted)?;
    let mut notes = settings(home, source, name, &from, to, now)?;
    if from.exists(AUTH) {
        notes.push(format!(
            "{AUTH} was not copied from '{source}': a login serves one profile; log in again as '{name}'"
        ));
    }
    Ok(notes)
}

fn open_source(home: &Home, source: &ProfileName) -> Result<Dir, HomeError> {
    let found = discover(home)?;
    Dir::open(home.profile(found.find(source)?).dir())
}

fn copy_text(from: &Dir, to: &Dir, name: &str, mode: u32) -> Result<(), HomeError> {
    match from.read_input(name, MAX_TEXT)? {
        Some(content) => to.write_atomic(name, &content.bytes, mode),
        None => Ok(()),
    }
}

/// `.env` and `config.yaml` without what is unique.
fn settings(
    home: &Home,
    source: &ProfileName,
    name: &ProfileName,
    from: &Dir,
    to: &Dir,
    now: SystemTime,
) -> Result<Vec<String>, HomeError> {
    let mut notes = Vec::new();
    if let Some(content) = from.read_input(CONFIG, config::MAX_BYTES)? {
        let (text, note) = shared_config(&content.bytes, source)?;
        to.write_atomic(CONFIG, &text, 0o640)?;
        notes.extend(note);
    }
    let Some(content) = from.read_input(DOTENV, dotenv::MAX_BYTES)? else {
        return Ok(notes);
    };
    let (mut text, mut left_out) = shared_dotenv(&content.bytes, source);
    if serves_api(&Dotenv::parse(&content.bytes)) {
        let herm = to.ensure_child(HERM_DIR, PRIVATE_DIR)?;
        let port = Ports::of(home).give(name, &herm, |_| true, now);
        let port = port.map_err(|e| match e {
            ports::PortError::Home(e) => e,
            ports::PortError::Exhausted => HomeError::Usage(e.to_string()),
        })?;
        let key = random_key()?;
        let server =
            format!("API_SERVER_ENABLED=true\nAPI_SERVER_PORT={port}\nAPI_SERVER_KEY={key}\n");
        text.push_str(&server);
        left_out.retain(|key| !key.starts_with("API_SERVER_"));
        notes.push(format!(
            "'{name}' has an API server of its own on port {port} with a new key"
        ));
    }
    to.write_atomic(DOTENV, text.as_bytes(), PRIVATE)?;
    if !left_out.is_empty() {
        notes.push(format!(
            "not copied from '{source}', because they can serve one profile only: {}; set '{name}'s own in its .env",
            left_out.join(", ")
        ));
    }
    Ok(notes)
}

fn serves_api(dotenv: &Dotenv) -> bool {
    let on = API_SERVER
        .enabled_key
        .is_some_and(|key| dotenv.is_true(key));
    on || API_SERVER
        .presence_key
        .is_some_and(|key| dotenv.get(key).is_some())
}

/// The file's text with unique settings replaced by comments, and their keys.
fn shared_dotenv(bytes: &[u8], source: &ProfileName) -> (String, Vec<String>) {
    let dotenv = Dotenv::parse(bytes);
    let text = dotenv::decode(bytes);
    let mut lines: Vec<Option<String>> = text.lines().map(|line| Some(line.to_owned())).collect();
    let mut left_out = Vec::new();
    for entry in dotenv
        .entries()
        .iter()
        .filter(|entry| is_unique(&entry.key))
    {
        for line in lines.iter_mut().skip(entry.line).take(entry.lines) {
            *line = None;
        }
        if let Some(line) = lines.get_mut(entry.line) {
            *line = Some(format!("# {} was not copied from '{source}'", entry.key));
        }
        if !left_out.contains(&entry.key) && !entry.value.expose().is_empty() {
            left_out.push(entry.key.clone());
        }
    }
    let text: Vec<String> = lines
        .into_iter()
        .flatten()
        .map(|line| line + "\n")
        .collect();
    (text.concat(), left_out)
}

/// The configuration with its `platforms:` block as a comment if that names ports or tokens. The
/// file is edited as text, because its comments are the agent's documentation to its user.
fn shared_config(
    bytes: &[u8],
    source: &ProfileName,
) -> Result<(Vec<u8>, Option<String>), HomeError> {
    let needs = |bytes: &[u8]| {
        Config::parse(bytes).map(|config| Needs::of(&Dotenv::default(), Some(&config)))
    };
    match needs(bytes) {
        Ok(unique) if unique.is_empty() => return Ok((bytes.to_vec(), None)),
        Ok(_) => {}
        Err(e) => {
            return Err(HomeError::Usage(format!(
                "profile '{source}' can't be cloned: its {e}"
            )));
        }
    }
    let text = dotenv::decode(bytes);
    let mut in_block = false;
    let mut shared = String::new();
    for line in text.lines() {
        let top_level = !line.is_empty() && !line.starts_with([' ', '\t', '#', '-', '}', ']']);
        if top_level {
            in_block = line.starts_with("platforms:");
        }
        shared += if in_block { "# " } else { "" };
        shared += line;
        shared += "\n";
    }
    if needs(shared.as_bytes()).is_ok_and(|needs| needs.is_empty()) {
        let note = format!(
            "the platforms of '{source}' in {CONFIG} are a comment in the copy, because their ports and tokens can serve one profile only"
        );
        return Ok((shared.into_bytes(), Some(note)));
    }
    Err(HomeError::Usage(format!(
        "profile '{source}' can't be cloned: its {CONFIG} names ports or tokens in a way that can't be left out; move them to its .env"
    )))
}

/// 32 random bytes, as the agent wants its key: long, and no placeholder.
fn random_key() -> Result<String, HomeError> {
    let mut bytes = [0u8; 32];
    let path = "/dev/urandom";
    let mut random = std::fs::File::open(path).map_err(|e| HomeError::io("open", path, e))?;
    random
        .read_exact(&mut bytes)
        .map_err(|e| HomeError::io("read", path, e))?;
    Ok(bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l53_unique_settings_of_env_become_comments_and_the_rest_stays() {
        let source = ProfileName::default_profile();
        let env = b"# mine\nOPENROUTER_API_KEY=shared\nexport TELEGRAM_BOT_TOKEN='123:\nabc'\nDISCORD_BOT_TOKEN=\nX=1\n";
        let (text, left_out) = shared_dotenv(env, &source);
        assert_eq!(
            text,
            "# mine\nOPENROUTER_API_KEY=shared\n# TELEGRAM_BOT_TOKEN was not copied from 'default'\n# DISCORD_BOT_TOKEN was not copied from 'default'\nX=1\n"
        );
        assert_eq!(left_out, ["TELEGRAM_BOT_TOKEN"]);
    }

    #[test]
    fn l53_ports_and_tokens_in_the_configuration_are_left_out() {
        let source = ProfileName::default_profile();
        let yaml =
            b"model: m\nplatforms:\n  telegram:\n    enabled: true\n    token: abc\nother: 1\n";
        let (text, note) = shared_config(yaml, &source).unwrap();
        let config = Config::parse(&text).unwrap();
        assert_eq!(config.text(&["other"]).as_deref(), Some("1"));
        assert_eq!(config.at(&["platforms"]), None);
        assert!(note.is_some());
        let (same, note) = shared_config(b"model: m # as is\n", &source).unwrap();
        assert_eq!((same.as_slice(), note), (&b"model: m # as is\n"[..], None));
    }
}
