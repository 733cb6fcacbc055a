//! libFuzzer on the check `intent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::state::intent(data));
