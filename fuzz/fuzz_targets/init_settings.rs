//! libFuzzer on the check `init_settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::configuration::init_settings(data));
