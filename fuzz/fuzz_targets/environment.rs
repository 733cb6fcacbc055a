//! libFuzzer on the check `environment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::boot::environment(data));
