#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_cluster::fuzzing::backup_item(bytes));
