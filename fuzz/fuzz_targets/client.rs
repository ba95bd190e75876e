#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sansocket::client::fuzz::client(data));
