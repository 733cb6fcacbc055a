//! libFuzzer on the check `rc_sources`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::s6::rc_sources(data));
