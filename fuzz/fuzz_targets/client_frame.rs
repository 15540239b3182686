#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_api::fuzzing::client_frame(bytes));
