//! The real binary, run as a person or a script would run it.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use sansocket_std::{Acceptor, CloseCode};

use support::{Client, Server, run};

#[test]
fn the_demonstration_holds() {
    let ended = run(&["demo", "--json"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["held"], true);
    assert_eq!(json["failures"], serde_json::json!([]));
    assert_eq!(json["messages_sent"], 28);
    assert_eq!(json["messages_received"], json["messages_sent"]);
    assert_eq!(json["bytes_received"], json["bytes_sent"]);
    assert!(json["messages_queued"].as_u64().unwrap() >= 12, "{json}");
    assert!(json["messages_resent"].as_u64().unwrap() >= 1, "{json}"); // The one that the server read and did not live to answer.
    assert!(json["attempts"].as_u64().unwrap() >= 2, "{json}");
    assert_eq!(json["connections"], 4);
    assert_eq!(json["reconnections"], 1);
    assert_eq!(json["requests_answered"], 1);
    assert_eq!(json["deaths"], 1);
    assert_eq!(json["refused"], 1);
    assert_eq!(json["protocol_errors"], 1);
    assert!(json["rtt"].as_f64().is_some(), "{json}");
    let times: Vec<f64> = json["timeline"].as_array().unwrap().iter().map(|e| e["at"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn the_demonstration_tells_its_story_without_colours_in_a_pipe() {
    let ended = run(&["demo"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for told in [
        "subprotocol echo.v1",
        "is refused with 403",
        "1002 (protocol error)",
        "dies",
        "is connected again",
        "All held",
    ] {
        assert!(ended.stdout.contains(told), "{told:?} is missing: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b'), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[test]
fn lines_go_to_the_server_and_back() {
    let server = Server::start(&[]);
    let long = "x".repeat(1 << 20);
    let lines = ["hello", "", "κόσμε 𝄞", &long, "after"];
    let ended = Client::start(&[&server.url()]).end_of_input(lines.join("\n"));
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), lines);
    assert!(ended.stderr.starts_with("open ws://127.0.0.1:"), "{}", ended.stderr);
    let end = "closed 1000 (normal closure) by this end, clean; 5 messages sent, 5 received\n";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
}

#[test]
fn both_compress_if_both_are_told_to_on_every_runtime() {
    let lines = format!("{{\"name\":\"{}\"}}\n", "sansocket ".repeat(40)).repeat(20);
    for runtime in ["std", "tokio", "async-std", "smol"] {
        for (server_args, client_args, end) in [
            (&["--deflate"][..], &["--deflate"][..], " % received\n"),
            (&[], &["--deflate"], "20 received, none compressed\n"),
            (&["--deflate"], &[], "20 received\n"),
        ] {
            let server = Server::start(&[server_args, &["--runtime", runtime]].concat());
            let url = server.url();
            let arguments = [&[&url, "--runtime", runtime], client_args].concat();
            let ended = Client::start(&arguments).end_of_input(lines.clone());
            assert_eq!((ended.status, &ended.stdout), (Some(0), &lines), "{}", ended.stderr);
            assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
        }
    }
}

#[test]
fn the_server_logs_each_connection() {
    let mut server = Server::start(&["--subprotocol", "chat"]);
    let url = format!("{}/room?secret", server.url());
    let ended = Client::start(&[&url, "--subprotocol", "other", "--subprotocol", "chat"]).end_of_input("hello\n");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let log = server.log_line();
    let end = " /room (chat): closed 1000 (normal closure) by the peer, clean; 1 message, 5 bytes";
    assert!(log.starts_with("127.0.0.1:") && log.ends_with(end), "{log}");
}

#[test]
fn every_runtime_talks_to_every_other() {
    let runtimes = ["std", "tokio", "async-std", "smol"];
    for at_server in runtimes {
        let server = Server::start(&["--runtime", at_server, "--subprotocol", "chat"]);
        for at_client in runtimes {
            let client = Client::start(&[&server.url(), "--runtime", at_client, "--subprotocol", "chat"]);
            let long = "x".repeat(1 << 20);
            let ended = client.end_of_input(format!("hello\n{long}\n"));
            assert_eq!(ended.status, Some(0), "{at_client} to {at_server}: {}", ended.stderr);
            assert!(ended.stdout == format!("hello\n{long}\n"), "{at_client} to {at_server}");
            let end = "closed 1000 (normal closure) by this end, clean; 2 messages sent, 2 received\n";
            assert!(ended.stderr.contains("subprotocol chat\n") && ended.stderr.ends_with(end), "{}", ended.stderr);
        }
    }
}

#[test]
fn every_runtime_logs_alike_with_as_many_threads_as_wanted() {
    for runtime in ["tokio", "async-std", "smol"] {
        let mut server = Server::start(&["--runtime", runtime, "--threads", "2", "--subprotocol", "chat"]);
        let url = format!("{}/room?secret", server.url());
        let client = Client::start(&[&url, "--runtime", runtime, "--threads", "2", "--subprotocol", "chat"]);
        assert_eq!(client.end_of_input("hello\n").status, Some(0));
        let log = server.log_line();
        let end = " /room (chat): closed 1000 (normal closure) by the peer, clean; 1 message, 5 bytes";
        assert!(log.starts_with("127.0.0.1:") && log.ends_with(end), "{runtime}: {log}");
        let ended = Client::start(&[&server.url(), "--header", "Origin: http://elsewhere"]).end();
        assert_eq!(ended.status, Some(1), "{runtime}");
        assert!(server.log_line().contains("refused with status 403"), "{runtime}");
    }
}

#[test]
fn tls_is_spoken_on_every_runtime_with_whom_it_should_be() {
    let folder = std::env::temp_dir().join(format!("sansocket-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for runtime in ["std", "tokio", "async-std", "smol"] {
        let cafile = folder.join(format!("{runtime}.pem")).display().to_string();
        let mut server = Server::start(&["--runtime", runtime, &format!("--tls-self-signed={cafile}")]);
        assert!(server.log_line().contains(&cafile));
        let url = server.url().replace("ws:", "wss:");
        let connect = |trust: &[&str]| {
            let arguments = [&[&url[..], "--runtime", runtime], trust].concat();
            Client::start(&arguments).end_of_input("hello\n")
        };
        let ended = connect(&["--cafile", &cafile]);
        assert_eq!((ended.status, &ended.stdout[..]), (Some(0), "hello\n"), "{runtime}: {}", ended.stderr);
        let ended = connect(&["--insecure"]);
        assert_eq!((ended.status, &ended.stdout[..]), (Some(0), "hello\n"), "{runtime}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("WARNING: --insecure"), "{}", ended.stderr);
        let ended = connect(&[]);
        assert_eq!(ended.status, Some(1));
        assert!(ended.stderr.contains("--cafile"), "{runtime}: {}", ended.stderr);
        let ended = Client::start(&[&url.replace("wss:", "ws:"), "--runtime", runtime]).end();
        assert_eq!(ended.status, Some(1));
        assert!(ended.stderr.contains("wss://"), "{runtime}: {}", ended.stderr);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_client_tells_the_subprotocol() {
    let server = Server::start(&["--subprotocol", "chat"]);
    let ended = Client::start(&[&server.url(), "--subprotocol", "chat"]).end_of_input("");
    assert!(ended.stderr.starts_with(&format!("open {}/, subprotocol chat\n", server.url())), "{}", ended.stderr);
    let ended = Client::start(&[&server.url(), "--subprotocol", "other"]).end_of_input("");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.starts_with(&format!("open {}/\n", server.url())), "{}", ended.stderr);
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    for (arguments, told) in [
        (&["connect", "http://127.0.0.1:9001"][..], "the URL must begin with ws:// or wss://"),
        (&["connect", "ws://127.0.0.1:1", "--proxy", "ftp://127.0.0.1"], "socks5h://"),
        (&["connect", "ws://127.0.0.1:1", "--threads", "2"], "a thread for each connection"),
        (&["connect", "wss://127.0.0.1:1", "--cafile", "a", "--insecure"], "--insecure"),
        (&["serve", "--tls-cert", "a"], "--tls-key"),
        (&["serve", "--runtime", "none"], "async-std"),
        (&["connect"], "URL"),
        (&["connect", "ws://127.0.0.1:1", "--header", "no colon"], "NAME: VALUE"),
        (&["connect", "ws://127.0.0.1:1", "--header", "Host: elsewhere"], "--header 'Host: …': "),
        (&["connect", "ws://127.0.0.1:1", "--header", "A b: c"], "--header 'A b: …': "),
        (&["connect", "ws://127.0.0.1:1", "--origin", "a\nb"], "--origin 'a\nb': "),
        (&["connect", "ws://127.0.0.1:1", "--subprotocol", "a", "--subprotocol", "a"], "--subprotocol 'a': "),
        (&["connect", "ws://127.0.0.1:1", "--header", "A b: c"], "Usage: sansocket connect [OPTIONS] <URL>"),
        (&["serve", "--threads", "2"], "Usage: sansocket serve [OPTIONS]"),
        (&["connect", "ws://127.0.0.1:1", "--max-message", "0"], "64K"),
        (&["serve", "--origin", "elsewhere"], "`same` or `any`"),
        (&["serve", "--listen", "9001"], "such as 127.0.0.1:9001, 0.0.0.0:9001 or [::1]:0; names are not resolved"),
        (&["serve", "--listen", ":9001"], "names are not resolved"),
        (&["serve", "--listen", "localhost:9001"], "names are not resolved"),
        (&["serve", "--subprotocol", "a b"], "subprotocol"),
        (&["serve", "--ping-interval", "often"], "500ms"),
        (&["dance"], "dance"),
        (&[], "Usage"),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_go_to_the_standard_output() {
    let ended = run(&["--version"]);
    assert_eq!((ended.status, ended.stdout), (Some(0), format!("sansocket {}\n", env!("CARGO_PKG_VERSION"))));
    for arguments in [&["--help"][..], &["serve", "--help"], &["connect", "--help"], &["demo", "--help"]] {
        let ended = run(arguments);
        assert_eq!(ended.status, Some(0), "{arguments:?}");
        assert!(ended.stdout.contains("Examples:\n  sansocket "), "{arguments:?}: {}", ended.stdout);
    }
}

#[test]
fn a_server_that_does_not_run_is_told_with_advice() {
    let address = "127.0.0.1:1"; // Nobody listens there, and no other test comes to.
    let ended = run(&["connect", &format!("ws://{address}")]);
    assert_eq!((ended.status, &*ended.stdout), (Some(1), ""));
    let advice = format!("is the server running? start one with `sansocket serve --listen {address}`\n");
    assert!(ended.stderr.ends_with(&advice), "{}", ended.stderr);
}

#[test]
fn so_it_is_at_each_attempt_on_every_runtime() {
    let address = "127.0.0.1:1"; // Nobody listens there, and no other test comes to.
    let down = format!("is the server running? start one with `sansocket serve --listen {address}`\n");
    let unresolvable = format!("ws://{}.invalid/", "x".repeat(64)); // No network is asked for so long a name.
    for runtime in ["std", "tokio", "async-std", "smol"] {
        for (url, advice) in [(&format!("ws://{address}"), &*down), (&unresolvable, "check the name, and whether ")] {
            let ended = Client::start(&[url, "--reconnect", "--attempts", "1", "--runtime", runtime]).end();
            assert_eq!(ended.status, Some(1), "{runtime}");
            assert!(ended.stderr.contains(advice), "{runtime}: {}", ended.stderr);
        }
        let (address, server) = answer_once(b"HTTP/1.1 404 \r\nContent-Length: 8\r\n\r\nnot here");
        let ended = Client::start(&[&format!("ws://{address}"), "--reconnect", "--runtime", runtime]).end();
        server.join().unwrap();
        assert_eq!(ended.status, Some(1), "{runtime}");
        assert!(ended.stderr.contains("; check the path of the URL\n  | not here\n"), "{runtime}: {}", ended.stderr);
        assert!(ended.stderr.contains("another attempt would meet the same"), "{runtime}: {}", ended.stderr);
        let (address, server) = answer_once(b"SSH-2.0-OpenSSH_9.9\r\n\r\n");
        let url = format!("ws://{address}");
        let ended = Client::start(&[&url, "--reconnect", "--attempts", "1", "--runtime", runtime]).end();
        server.join().unwrap();
        assert!(ended.stderr.contains("; is that a WebSocket server"), "{runtime}: {}", ended.stderr);
        let server = Server::start(&["--tls-self-signed"]);
        let url = server.url().replace("ws:", "wss:");
        let ended = Client::start(&[&url, "--reconnect", "--attempts", "1", "--runtime", runtime]).end();
        assert!(ended.stderr.contains("trust its issuer, if you know who that is: `--cafile`\n"), "{}", ended.stderr);
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = run(&["serve", "--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!((ended.status, &*ended.stdout), (Some(1), ""));
    assert!(ended.stderr.contains("another program listens there"), "{}", ended.stderr);
}

#[test]
fn a_foreign_origin_is_refused_unless_it_is_listed() {
    let foreign = ["--origin", "https://elsewhere.example"];
    for (policy, status) in [("same", 1), ("https://a.example,https://elsewhere.example", 0), ("any", 0)] {
        let server = Server::start(&["--origin", policy]);
        let ended = Client::start(&[&server.url(), foreign[0], foreign[1]]).end_of_input("");
        assert_eq!(ended.status, Some(status), "{policy}: {}", ended.stderr);
        assert_eq!(ended.stderr.contains("status 403"), status == 1, "{policy}: {}", ended.stderr);
    }
}

#[test]
fn the_body_of_a_refusal_is_shown_and_does_not_drive_the_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        let body = format!("short and stout\r\n\x1b[2J{}", "z".repeat(1000));
        write!(stream, "HTTP/1.1 418 \r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let ended = run(&["connect", &format!("ws://{address}")]);
    server.join().unwrap();
    assert_eq!((ended.status, &*ended.stdout), (Some(1), ""));
    assert!(ended.stderr.contains("status 418\n  | short and stout\n  | \\u{1b}[2Jzzz"), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("zzz\n  | …\n") && ended.stderr.len() < 1000, "{}", ended.stderr);
}

#[test]
fn what_is_no_websocket_server_is_told() {
    let (address, server) = answer_once(b"SSH-2.0-OpenSSH_9.9\r\n\r\n");
    let ended = run(&["connect", &format!("ws://{address}")]);
    server.join().unwrap();
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("is that a WebSocket server"), "{}", ended.stderr);
}

#[test]
fn a_server_that_is_killed_ends_the_client_with_1() {
    let server = Server::start(&[]);
    let mut client = Client::start(&[&server.url()]);
    client.type_in("hello\n");
    assert_eq!(client.read_line(), "hello\n");
    drop(server);
    let ended = client.end();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("closed 1006"), "{}", ended.stderr);
}

#[test]
fn a_server_that_is_killed_and_started_again_gets_all_lines_on_every_runtime() {
    let outlive = |runtime: &str| {
        let server = Server::start(&[]);
        let address = server.address.clone();
        let mut client = Client::start(&[&server.url(), "--reconnect", "--runtime", runtime]);
        client.type_in("one\n");
        assert_eq!(client.read_line(), "one\n");
        drop(server); // By SIGKILL.
        assert!(client.stderr_until("waiting").starts_with("waiting "), "{runtime}");
        client.type_in("two\nthree\n");
        let _server = Server::start_at(&address, &[]);
        assert_eq!([client.read_line(), client.read_line()], ["two\n", "three\n"], "{runtime}");
        let ended = client.end_of_input("four\n");
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "four\n"), "{runtime}: {}", ended.stderr);
        let end = "; 4 messages sent, 4 received, over 2 connections\n";
        assert!(ended.stderr.contains("open again\n") && ended.stderr.ends_with(end), "{runtime}: {}", ended.stderr);
    };
    // Side by side, since each waits for some seconds.
    thread::scope(|scope| {
        for runtime in ["std", "tokio", "async-std", "smol"] {
            scope.spawn(move || outlive(runtime));
        }
    });
}

#[test]
fn a_client_that_gives_up_says_so_and_what_it_did_not_send() {
    let ended = Client::start(&["ws://127.0.0.1:1/", "--reconnect", "--attempts", "1"]).end();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot connect to 127.0.0.1:1: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("\ngave up: "), "{}", ended.stderr);

    // Nobody answers until the first line is taken, which is so when the second is found fault with.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let mut client = Client::start(&[&url, "--reconnect", "--attempts", "1"]);
    client.type_in(b"one\n\xff\n");
    client.stderr_until("line 2 is not UTF-8");
    drop(silent);
    let ended = client.end();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 1 was dropped: the client ended\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("gave up: "), "{}", ended.stderr);
    assert_eq!(run(&["connect", "ws://127.0.0.1:1/", "--attempts", "1"]).status, Some(2));
}

#[test]
fn a_client_that_never_had_a_connection_ends_with_1_and_others_well() {
    let ended = Client::start(&["ws://127.0.0.1:1/", "--reconnect"]).end_of_input("");
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.ends_with(", over 0 connections\n"), "{}", ended.stderr);

    let server = Server::start(&[]);
    for runtime in ["std", "tokio", "async-std", "smol"] {
        let ended = Client::start(&[&server.url(), "--reconnect", "--runtime", runtime]).end_of_input("");
        assert_eq!(ended.status, Some(0), "{runtime}: {}", ended.stderr);
        assert!(ended.stderr.ends_with(", over 1 connection\n"), "{runtime}: {}", ended.stderr);
    }
}

#[test]
fn a_server_that_is_done_with_a_lasting_client_ends_it_well() {
    let (address, server) = serve_once(|socket| drop(socket.close(CloseCode::NORMAL, "done")));
    let ended = Client::start(&[&format!("ws://{address}"), "--reconnect"]).end();
    server.join().unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let end = "open\nclosed 1000 (normal closure) \"done\" by the peer, clean; 0 messages sent, 0 received, over 1 connection\n";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);

    let (address, server) = serve_once(|socket| drop(socket.close(CloseCode::POLICY_VIOLATION, "")));
    let ended = Client::start(&[&format!("ws://{address}"), "--reconnect"]).end();
    server.join().unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let end = "\nstopped, because another attempt would meet the same: closed by the peer";
    assert!(ended.stderr.contains(end), "{}", ended.stderr);
}

#[test]
fn tls_files_that_do_not_fit_are_told_with_advice() {
    let folder = std::env::temp_dir().join(format!("sansocket-tls-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (ours, other) = (made(), made());
    let (cert, key) = (file("cert.pem", ours.cert.pem()), file("key.pem", other.signing_key.serialize_pem()));
    for (key, told) in [
        (&cert, "no private key in it; it has to be PEM"),
        (&key, "the key of --tls-key is not that of the first certificate of --tls-cert"),
    ] {
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", key]);
        assert_eq!((ended.status, &*ended.stdout), (Some(1), ""));
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn round_trips_are_told_as_they_are_measured() {
    let server = Server::start(&[]);
    let mut client = Client::start(&[&server.url(), "--reconnect", "--ping-interval", "100ms"]);
    assert!(client.stderr_until("rtt").starts_with("rtt "));
    let ended = client.end_of_input("");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[test]
fn a_message_above_the_limit_is_1009_at_either_end() {
    let server = Server::start(&["--max-message", "4"]);
    let mut client = Client::start(&[&server.url()]);
    client.type_in("12345\n"); // The input stays open, so that it is the server who closes.
    let ended = client.end();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("closed 1009 (message too big)") && ended.stderr.contains("by the peer"),
        "{}",
        ended.stderr
    );

    let (address, server) = serve_once(|socket| drop(socket.send_text("12345").and_then(|()| socket.recv())));
    let ended = Client::start(&[&format!("ws://{address}"), "--max-message", "4"]).end();
    server.join().unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("closed 1009 (message too big)") && ended.stderr.contains("by this end"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_line_above_the_limit_or_that_is_no_text_is_not_sent() {
    let server = Server::start(&[]);
    let ended = Client::start(&[&server.url(), "--max-message", "4"]).end_of_input("1234\n12345\nafter\n");
    assert_eq!((ended.status, &*ended.stdout), (Some(1), "1234\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 2 has more than 4 bytes"), "{}", ended.stderr);

    let ended = Client::start(&[&server.url()]).end_of_input(b"before\n\xff\nafter\n");
    assert_eq!((ended.status, &*ended.stdout), (Some(1), "before\nafter\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 2 is not UTF-8"), "{}", ended.stderr);
    assert!(ended.stderr.contains("closed 1000"), "{}", ended.stderr);
}

#[test]
fn a_code_of_the_application_is_a_good_end_and_its_reason_is_quoted() {
    let (address, server) = serve_once(|socket| drop(socket.close(CloseCode(4001), "done\n\x1b")));
    let client = Client::start(&[&format!("ws://{address}")]);
    let ended = client.end();
    server.join().unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let end = "closed 4001 \"done\\n\\u{1b}\" by the peer, clean; 0 messages sent, 0 received\n";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);

    let (address, server) = serve_once(|socket| drop(socket.close(CloseCode::INTERNAL_ERROR, "")));
    let ended = Client::start(&[&format!("ws://{address}")]).end();
    server.join().unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
}

#[test]
fn binary_messages_are_shown_in_hexadecimal() {
    let (address, server) = serve_once(|socket| {
        socket.send_binary(b"\x00\x7f\xff").unwrap();
        socket.send_binary(b"").unwrap();
        socket.close(CloseCode::NORMAL, "").unwrap();
    });
    let ended = Client::start(&[&format!("ws://{address}")]).end();
    server.join().unwrap();
    assert_eq!((ended.status, &*ended.stdout), (Some(0), "binary: 007fff\nbinary: \n"), "{}", ended.stderr);
}

#[test]
fn headers_are_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || read_head(&mut listener.accept().unwrap().0));
    run(&[
        "connect",
        &format!("ws://{address}/a?b"),
        "--header",
        "X-One: a: b ",
        "--header",
        "X-Two:",
        "--origin",
        "http://a.b",
    ]);
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    for line in ["X-One: a: b", "X-Two: ", "Origin: http://a.b"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let server = Server::start(&[]);
    let mut client = Client::start(&[&server.url()]);
    client.close_stdout();
    client.type_in("hello\n");
    let ended = client.end();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panic") && ended.stderr.contains("closed 1000"), "{}", ended.stderr);
}

#[test]
fn the_server_outlives_clients_that_break_all_rules() {
    let mut server = Server::start(&["--max-connections", "1"]);
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let huge = [upgrade.as_bytes(), b"\x82\xff\0\0\x01\0\0\0\0\0\0\0\0\0"].concat();
    let unmasked = [upgrade.as_bytes(), b"\x81\x01a"].concat();
    for (wire, told) in [
        (&b"\xff\xfe\xfd\r\n\r\n"[..], "refused with status 400"),
        (b"", "without a close frame"),
        (b"GET / HTTP/1.1\r\n", "without a close frame"),
        (upgrade.as_bytes(), "closed 1006"),
        (&unmasked, "closed 1002 (protocol error)"),
        (&huge, "closed 1009 (message too big)"),
    ] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(wire).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Its answer, and then the end, since there is nothing more to say. It may reset what it has no use for.
        let _ = stream.read_to_end(&mut Vec::new());
        let log = server.log_line();
        assert!(log.contains(told), "{told:?} is missing: {log}");
    }
    let ended = Client::start(&[&server.url()]).end_of_input("still there?\n");
    assert_eq!((ended.status, &*ended.stdout), (Some(0), "still there?\n"), "{}", ended.stderr);
}

/// Answers one request with these bytes, in a thread.
fn answer_once(answer: &'static [u8]) -> (std::net::SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(answer).unwrap();
    });
    (address, thread)
}

/// A server for one connection, in a thread.
fn serve_once(
    serve: impl FnOnce(&mut sansocket_std::WebSocket<TcpStream>) + Send + 'static,
) -> (std::net::SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(&mut Acceptor::new().accept(stream).unwrap());
    });
    (address, thread)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
