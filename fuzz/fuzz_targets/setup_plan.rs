//! libFuzzer on the check `setup_plan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::messages::setup_plan(data));
