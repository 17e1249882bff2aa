#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| gwa::fuzzing::api_message(data));
