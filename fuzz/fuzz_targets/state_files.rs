//! libFuzzer on the check `state_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::state::files(data));
