//! libFuzzer on the check `names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::names::check(data));
