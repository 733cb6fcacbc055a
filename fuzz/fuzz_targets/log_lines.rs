//! libFuzzer on the check `log_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::lines::framing(data));
