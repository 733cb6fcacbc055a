//! libFuzzer on the check `claims`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::state::claims(data));
