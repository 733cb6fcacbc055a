//! libFuzzer on the check `wire_event`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::messages::event(data));
