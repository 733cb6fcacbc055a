//! libFuzzer on the check `account_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::accounts::files(data));
