//! libFuzzer on the check `fix_attrs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::s6::fix_attrs(data));
