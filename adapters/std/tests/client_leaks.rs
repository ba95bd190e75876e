//! Clients that come and go leave no thread and no descriptor. A program of its own, since it counts what the whole process has.

#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use sansocket_std::client::ClientConfig;
use sansocket_std::{CloseCode, Connector, accept};

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn clients_that_come_and_go_leave_no_thread_and_no_descriptor() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let serving = thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let Ok(mut socket) = accept(stream.unwrap()) else { return };
                while let Ok(Some(message)) = socket.recv() {
                    if message.as_text() == Some("go") {
                        return;
                    }
                    let _ = socket.send(message);
                }
            });
        }
    });
    let now = || (count("/proc/self/task"), count("/proc/self/fd"));
    let before = now();
    for how in 0..60 {
        let url = if how % 6 == 5 { format!("ws://{nobody}/") } else { url.clone() };
        let (client, mut inbox) = Connector::new(&url).unwrap().client(ClientConfig::default()).unwrap();
        match how % 6 {
            0 => assert!(client.close(CloseCode::NORMAL, "", Duration::from_secs(5)).is_ok()),
            1 | 5 => client.abort(),
            2 => {
                client.send("hello").unwrap();
                assert_eq!(inbox.recv().unwrap(), Some("hello".into()));
            }
            3 => {
                // The server drops the connection; then the client waits for its next attempt, or makes it.
                client.send("go").unwrap();
                thread::sleep(Duration::from_millis(5));
                client.abort();
            }
            _ => {} // While it connects.
        }
    }
    let until = Instant::now() + Duration::from_secs(20);
    while now() > before && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    let after = now();
    assert!(after.0 <= before.0 && after.1 <= before.1, "threads and descriptors: {before:?} before, {after:?} after");
    assert!(!serving.is_finished());
}
