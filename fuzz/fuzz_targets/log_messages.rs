//! libFuzzer on the check `log_messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::messages::log(data));
