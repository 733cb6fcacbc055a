//! Root's `herm.toml` has two readers: the one here, of all of TOML, and PID 1's, of a part of it.

use std::path::Path;

use herm_home::settings::{KEYS, Settings};
use herm_init::pid1::check_settings;

/// What the other reader says of a file of root's.
fn keeper_takes(text: &str) -> bool {
    let mut settings = Settings::default();
    settings
        .apply_file(Path::new("herm.toml"), text.as_bytes(), true)
        .is_ok()
}

#[test]
fn every_setting_is_known_to_both_readers_of_roots_file_and_takes_the_same_values() {
    let values = [
        "0",
        "1",
        "4095",
        "4096",
        "0.5",
        "86400",
        "86400.5",
        "86401",
        "-1",
        "5000000000",
        "1_0",
        "true",
        "\"x\"",
        "\"dashboard\"",
        "\"gateways\"",
        "[\"g\"]",
    ];
    for key in &KEYS {
        let follows = |value: &&str| check_settings(&format!("{} = {value}\n", key.name)).is_ok();
        // What only the keeper follows, PID 1 passes over, whatever it says.
        let is_passed_over = values.iter().all(follows);
        let mut taken = 0;
        for value in values {
            let text = format!("{} = {value}\n", key.name);
            let (keeper, init) = (keeper_takes(&text), check_settings(&text));
            taken += usize::from(keeper);
            assert!(
                init.is_ok() == keeper || is_passed_over,
                "{text}: PID 1 says {init:?}"
            );
            let unknown = format!("there is no setting '{}'", key.name);
            assert!(
                !init.is_err_and(|why| why.contains(&unknown)),
                "{}",
                key.name
            );
        }
        assert!(taken > 0, "no value here fits {}", key.name);
    }
}

#[test]
fn pid_1_alone_has_its_own_table() {
    let text = "[init]\nstop_timeout = 20\nlog = \"debug\"\nlog_stdout = \"raw\"\n";
    assert_eq!(check_settings(text), Ok(()));
    assert!(keeper_takes(text));
    assert!(check_settings("[init]\nanything = 1\n").is_err());
}
