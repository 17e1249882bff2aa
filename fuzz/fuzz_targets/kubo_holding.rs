#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| gwa::fuzzing::kubo_holding(data));
