//! libFuzzer on the check `main_program`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::boot::main_program(data));
