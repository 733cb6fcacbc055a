//! libFuzzer on the check `dotenv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::configuration::dotenv(data));
