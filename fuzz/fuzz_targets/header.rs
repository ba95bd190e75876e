#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sansocket::frame::fuzz::header(data));
