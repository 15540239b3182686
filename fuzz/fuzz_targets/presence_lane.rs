#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_node::peers::message::read_any(bytes));
