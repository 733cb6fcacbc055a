//! What people and agents write by hand: settings, `.env`, `config.yaml`.

use std::path::Path;

use herm_home::claims::{Claims, Needs};
use herm_home::config::Config;
use herm_home::dotenv::Dotenv;
use herm_home::settings::{self, KEYS, Settings};
use herm_home::{Home, ProfileName};
use herm_init::herm_toml::{self, Kind};

use crate::parts;

const NOWHERE: &str = "/nonexistent";

/// `herm.toml`, in root's place and in the home, and the same text as every variable: values are
/// within their bounds, and reading twice is reading once.
pub fn settings(data: &[u8]) {
    for is_roots in [true, false] {
        let mut settings = Settings::default();
        let result = settings.apply_file(Path::new("herm.toml"), data, is_roots);
        bounded(&settings);
        if result.is_ok() {
            let once = settings.clone();
            settings
                .apply_file(Path::new("herm.toml"), data, is_roots)
                .unwrap();
            assert_eq!(settings, once);
        }
    }
    let text = String::from_utf8_lossy(data);
    for key in &KEYS {
        let environment = [(key.variable(), text.clone().into_owned())];
        bounded(&settings::load(&Home::new(NOWHERE), Path::new(NOWHERE), environment).settings);
    }
}

/// Root's file as PID 1 reads it: whatever it understands is TOML and means the same there, key by key.
pub fn init_settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Any text may be refused, but not one that is followed and then misread.
    let _ = herm_init::pid1::check_settings(text);
    let mut found = Vec::new();
    let read = herm_toml::read(text, &mut |name, value| {
        found.push((name.to_owned(), value.clone()));
        Ok(())
    });
    if read.is_err() {
        return;
    }
    let table: toml::Table = toml::from_str(text).unwrap();
    let mut expected = Vec::new();
    leaves("", &table, &mut expected);
    assert_eq!(found.len(), expected.len());
    for (name, value) in &found {
        let (_, theirs) = expected.iter().find(|(other, _)| other == name).unwrap();
        let ours = value.text.as_str();
        match theirs {
            toml::Value::String(text) => {
                assert_eq!((value.kind, ours), (Kind::Text, text.as_str()))
            }
            toml::Value::Integer(number) => {
                assert_eq!(
                    (value.kind, ours.parse().ok()),
                    (Kind::Number, Some(*number))
                );
            }
            toml::Value::Float(number) => {
                assert_eq!(
                    (value.kind, ours.parse().ok()),
                    (Kind::Number, Some(*number))
                );
            }
            toml::Value::Boolean(flag) => {
                assert_eq!((value.kind, ours.parse().ok()), (Kind::Flag, Some(*flag)));
            }
            toml::Value::Array(_) => assert_eq!(value.kind, Kind::List),
            other => panic!("{name} is {other:?}"),
        }
    }
}

fn leaves(under: &str, table: &toml::Table, found: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let name = format!("{under}{name}");
        match value.as_table() {
            Some(inner) => leaves(&format!("{name}."), inner, found),
            None => found.push((name, value.clone())),
        }
    }
}

fn bounded(settings: &Settings) {
    let seconds = [
        settings.restart_stable_s,
        settings.restart_delay_s,
        settings.restart_max_delay_s,
        settings.stop_grace_s,
    ];
    assert!(
        seconds
            .iter()
            .flatten()
            .all(|s| (0.0..=86_400.0).contains(s))
    );
    assert_ne!(settings.restart_burst, Some(0));
    assert_ne!(settings.log_max_files, Some(0));
    assert!(settings.log_max_bytes.is_none_or(|bytes| bytes >= 4096));
    assert!(
        settings
            .gateway_command
            .first()
            .is_none_or(|word| !word.is_empty())
    );
}

/// A `.env`: assignments don't overlap and lie in the file, the last of a key counts, and each
/// written again in double quotes is the same.
pub fn dotenv(data: &[u8]) {
    let parsed = Dotenv::parse(data);
    let mut free_from = 0;
    for entry in parsed.entries() {
        assert!(entry.lines >= 1 && entry.line >= free_from);
        free_from = entry.line + entry.lines;
        let value = entry.value.expose();
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let quoted = quoted.replace('\r', "\\r");
        let mark = if entry.key.contains('\'') { "" } else { "'" };
        // After an empty line, for a byte order mark in the key would be the file's.
        let text = format!("\n{mark}{}{mark}=\"{quoted}\"\n", entry.key);
        let again = Dotenv::parse(text.as_bytes());
        let [again] = again.entries() else {
            panic!("{text:?} has {} entries", again.entries().len());
        };
        assert_eq!((&again.key, again.value.expose()), (&entry.key, value));
        let last = parsed
            .entries()
            .iter()
            .rev()
            .find(|other| other.key == entry.key);
        let expected = last
            .map(|last| &last.value)
            .filter(|value| !value.expose().is_empty());
        assert_eq!(parsed.get(&entry.key), expected);
    }
    let breaks = data
        .iter()
        .filter(|byte| matches!(byte, b'\n' | b'\r'))
        .count();
    assert!(free_from <= breaks + 1);
}

/// A `config.yaml`: no blank text, no port 0; an error names a line of the file and nothing else.
pub fn config(data: &[u8]) {
    match Config::parse(data) {
        Ok(config) => {
            let model = config.model();
            let words = [model.name, model.provider, model.base_url];
            assert!(words.iter().flatten().all(|word| !word.trim().is_empty()));
            let _ = config.multiplex();
            for platform in ["api_server", "webhook"] {
                assert_ne!(
                    config.port(&["platforms", platform, "extra", "port"]),
                    Some(0)
                );
            }
        }
        Err(error) => {
            let breaks = data
                .iter()
                .filter(|byte| matches!(byte, b'\n' | b'\r'))
                .count() as u64;
            assert!(error.line.is_none_or(|line| line <= breaks + 2), "{error}");
            let place = error
                .line
                .map(|line| format!(" (line {line})"))
                .unwrap_or_default();
            let expected = format!("config.yaml is no valid YAML{place}: correct it");
            assert_eq!(error.to_string(), expected);
        }
    }
}

/// A `.env` and a `config.yaml`: what they need can be claimed, written and read again, and then
/// nobody else can claim the same.
pub fn needs(data: &[u8]) {
    let [dotenv, config] = parts(data);
    let needs = Needs::of(&Dotenv::parse(dotenv), Config::parse(config).ok().as_ref());
    assert!(!needs.ports.contains_key(&0));
    let profile = |name| ProfileName::parse(name).unwrap();
    let mut claims = Claims::default();
    claims
        .claim(&profile("writer"), needs.clone())
        .expect("nobody else has claims");
    let mut claims = Claims::parse(&claims.to_bytes()).expect("what was written can be read");
    assert_eq!(claims.of(&profile("writer")), Some(&needs));
    let contested = claims.claim(&profile("coder"), needs.clone()).is_err();
    assert_eq!(contested, !needs.is_empty());
}
