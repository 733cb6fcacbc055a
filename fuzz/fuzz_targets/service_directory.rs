//! libFuzzer on the check `service_directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::supervision::definition(data));
