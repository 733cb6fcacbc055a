//! libFuzzer on the check `agent_state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| herm_fuzz::state::agent_state(data));
