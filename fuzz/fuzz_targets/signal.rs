//! libFuzzer on the check `signal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::processes::signal(data));
