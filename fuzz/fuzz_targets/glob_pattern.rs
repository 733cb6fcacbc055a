//! libFuzzer on the check `glob_pattern`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::s6::glob_pattern(data));
