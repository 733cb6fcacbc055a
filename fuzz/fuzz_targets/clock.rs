//! libFuzzer on the check `clock`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::state::clock(data));
