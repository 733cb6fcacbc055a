//! libFuzzer on the check `needs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::configuration::needs(data));
