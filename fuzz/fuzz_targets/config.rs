//! libFuzzer on the check `config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::configuration::config(data));
