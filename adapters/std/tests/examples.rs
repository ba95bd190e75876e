//! The examples as a person would run them, see `adapters/common/testing/shutdown.rs`.

#![cfg(unix)]

#[path = "../../common/testing/shutdown.rs"]
mod shutdown;

use shutdown::an_interrupted_server_says_goodbye;

#[test]
fn the_echo_server_shuts_down_gracefully() {
    an_interrupted_server_says_goodbye("echo_server");
}
