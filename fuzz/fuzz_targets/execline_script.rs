//! libFuzzer on the check `execline_script`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::s6::execline_script(data));
