//! libFuzzer on the check `log_names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::lines::rotated_names(data));
