//! libFuzzer on the check `service_status`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::supervision::status(data));
