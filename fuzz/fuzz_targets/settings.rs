//! libFuzzer on the check `settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::configuration::settings(data));
