#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sansocket::proxy::fuzz::prelude(data));
