//! libFuzzer on the check `log_script`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::s6::log_script(data));
