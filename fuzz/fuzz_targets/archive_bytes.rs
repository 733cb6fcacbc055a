//! libFuzzer on the check `archive_bytes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::archives::bytes(data));
