//! libFuzzer on the check `wire_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::messages::reply(data));
