//! libFuzzer on the check `engine_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::records::engine(data));
