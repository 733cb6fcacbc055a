//! What a container is started with: its environment and its command.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use herm_init::environment::Environment;
use herm_init::main_program::{Image, Route, route};

use crate::archives::scratch;

/// An environment as the kernel hands it over (`NAME=value`, separated by zero bytes): users get
/// all of it but what `HERM_ROOT_ENV` names, and the record holds exactly what users get.
pub fn environment(data: &[u8]) {
    let variables = data.split(|byte| *byte == 0).filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((owned(&variable[..equals]), owned(&variable[equals + 1..])))
    });
    let environment = Environment::from_variables(variables);
    let hidden: BTreeSet<&OsStr> = environment
        .get("HERM_ROOT_ENV")
        .map(|list| list.split([' ', ',']).filter(|name| !name.is_empty()))
        .map(|names| names.map(OsStr::new).collect())
        .unwrap_or_default();
    let all: Vec<_> = environment.for_root().collect();
    let given: Vec<_> = environment.for_user().collect();
    let expected: Vec<_> = all
        .iter()
        .filter(|(name, _)| !hidden.contains(name))
        .collect();
    assert!(given.iter().eq(expected));

    let root = scratch();
    let dir = root.path().join("container_environment");
    environment
        .record(&dir, 0o750)
        .expect("any environment can be recorded");
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        let recorded = std::fs::read(entry.path()).unwrap();
        let name = entry.file_name();
        let value = given
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| *value);
        assert_eq!(value.map(OsStr::as_bytes), Some(recorded.as_slice()));
    }
}

/// A command, its words separated by zero bytes. Whatever it becomes, its own words are passed on
/// unchanged, and something runs that has a name.
pub fn main_program(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let cmd: Vec<String> = if text.is_empty() {
        Vec::new()
    } else {
        text.split('\0').map(str::to_owned).collect()
    };
    for (has_home_and_user, no_supervise) in [(true, false), (true, true), (false, false)] {
        let image = Image {
            has_home_and_user,
            default_program: None,
            no_supervise,
        };
        match route(&cmd, &image, &|word| word.len() % 2 == 0) {
            Route::AsServiceUser(argv) => {
                assert!(has_home_and_user && !argv.is_empty());
                assert!(argv.ends_with(cmd.get(1..).unwrap_or_default()));
            }
            Route::AsIs(argv) => assert_eq!(argv, cmd),
            Route::SupervisedGateway { profile } => {
                assert!(has_home_and_user && !no_supervise);
                assert!(profile == "default" || text.contains(&profile));
            }
            Route::None => assert!(cmd.is_empty()),
        }
    }
}
