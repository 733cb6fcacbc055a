//! libFuzzer on the check `proc_stat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::processes::stat(data));
