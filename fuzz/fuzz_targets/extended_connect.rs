#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sansocket::handshake::fuzz::extended_connect(data));
