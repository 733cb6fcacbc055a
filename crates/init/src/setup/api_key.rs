//! A key for the API server where one is needed and none is set (contract section 3.3).
//!
//! The agent refuses to serve without a key, and a key alone would switch its server on. So a key
//! is made only where the server is switched on already.

use std::io;

use crate::main_program::is_true;

const ENABLED: &str = "API_SERVER_ENABLED";
const KEY: &str = "API_SERVER_KEY";

/// `.env` with a key added, or `None` where nothing is to be done. `container` looks up the
/// container's environment; `make_key` is called only where a key is needed.
pub(super) fn with_key(
    env_file: &[u8],
    container: &dyn Fn(&str) -> Option<String>,
    make_key: impl FnOnce() -> io::Result<String>,
) -> io::Result<Option<Vec<u8>>> {
    // The agent lets the file win over the environment.
    let setting = |name: &str| file_value(env_file, name).or_else(|| container(name));
    if !setting(ENABLED).is_some_and(|value| is_true(&value)) {
        return Ok(None);
    }
    if setting(KEY).is_some_and(|value| !value.is_empty()) {
        return Ok(None);
    }
    let mut edited = env_file.to_vec();
    if edited.last().is_some_and(|last| *last != b'\n') {
        edited.push(b'\n');
    }
    edited.extend_from_slice(format!("{KEY}={}\n", make_key()?).as_bytes());
    Ok(Some(edited))
}

/// The last value a `.env` file gives a variable, quotes removed.
fn file_value(file: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(file);
    text.lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| unquote(value.trim()).to_owned())
        })
        .next_back()
}

fn unquote(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value)
}

/// A key of 32 random bytes as hexadecimal digits.
pub(super) fn random_key() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    Ok(halves
        .filter_map(|half| char::from_digit(u32::from(half), 16))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(file: &str, container: &[(&str, &str)]) -> Option<String> {
        let lookup = |name: &str| {
            container
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        with_key(file.as_bytes(), &lookup, || Ok("k".repeat(16)))
            .unwrap()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_server_that_is_on_without_a_key_gets_one() {
        assert_eq!(
            edited("# mine\nAPI_SERVER_ENABLED=true", &[]).as_deref(),
            Some("# mine\nAPI_SERVER_ENABLED=true\nAPI_SERVER_KEY=kkkkkkkkkkkkkkkk\n")
        );
        assert_eq!(
            edited("", &[("API_SERVER_ENABLED", "Yes")]).as_deref(),
            Some("API_SERVER_KEY=kkkkkkkkkkkkkkkk\n")
        );
    }

    #[test]
    fn no_key_is_made_where_the_server_is_off_or_has_one() {
        assert_eq!(edited("", &[]), None);
        assert_eq!(edited("API_SERVER_ENABLED=false", &[]), None);
        assert_eq!(
            edited("export API_SERVER_ENABLED=1\nAPI_SERVER_KEY='abc'\n", &[]),
            None
        );
        assert_eq!(
            edited("API_SERVER_ENABLED=1\n", &[("API_SERVER_KEY", "abc")]),
            None
        );
    }

    #[test]
    fn the_file_wins_over_the_environment_and_its_last_line_over_its_first() {
        let on = [("API_SERVER_ENABLED", "true")];
        assert_eq!(edited("API_SERVER_ENABLED=0\n", &on), None);
        assert!(edited("API_SERVER_ENABLED=0\nAPI_SERVER_ENABLED=1\n", &[]).is_some());
    }

    #[test]
    fn random_keys_are_long_and_differ() {
        let (one, two) = (random_key().unwrap(), random_key().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, two);
    }
}
