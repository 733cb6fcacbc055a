//! libFuzzer on the check `service_marks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::supervision::marks(data));
