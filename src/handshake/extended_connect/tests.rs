use super::*;

type Fields = &'static [(&'static str, &'static str)];

/// The request of RFC 8441 section 5.1.
const RFC: PseudoHeaders<'static> = PseudoHeaders {
    method: "CONNECT",
    protocol: Some("websocket"),
    scheme: Some("https"),
    authority: Some("server.example.com"),
    path: Some("/chat"),
};
const RFC_FIELDS: Fields = &[
    ("sec-websocket-protocol", "chat, superchat"),
    ("sec-websocket-extensions", "permessage-deflate"),
    ("sec-websocket-version", "13"),
    ("origin", "https://server.example.com"),
];

/// Checks the request of the RFC with the lines of `name` replaced by `values`.
fn check(name: &'static str, values: &[&'static str]) -> Result<(), ConnectFault> {
    let others = RFC_FIELDS.iter().copied().filter(|(field, _)| *field != name);
    let fields: Vec<_> = others.chain(values.iter().map(|value| (name, *value))).collect();
    check_extended_connect(&RFC, &fields, &OriginPolicy::SameOrigin).map(|_| ())
}

#[test]
fn the_request_of_the_rfc_is_accepted() {
    let asked = check_extended_connect(&RFC, RFC_FIELDS, &OriginPolicy::SameOrigin).unwrap();
    assert_eq!((asked.authority, asked.path, asked.is_secure), ("server.example.com", "/chat", true));
    assert_eq!(asked.subprotocols, ["chat", "superchat"]);
    let shown = r#"ExtendedConnect { authority: "server.example.com", path: "/chat", is_secure: true, subprotocols: ["chat", "superchat"] }"#;
    assert_eq!(format!("{asked:?}"), shown);
}

#[test]
fn each_pseudo_header_is_held_to_its_rule() {
    use ConnectFault::*;
    let with = |change: fn(&mut PseudoHeaders<'static>)| {
        let mut pseudo = RFC;
        change(&mut pseudo);
        check_extended_connect(&pseudo, RFC_FIELDS, &OriginPolicy::Any).map(|_| ())
    };
    for method in ["GET", "connect", "POST", ""] {
        let pseudo = PseudoHeaders { method, ..RFC };
        let fault = check_extended_connect(&pseudo, RFC_FIELDS, &OriginPolicy::Any).unwrap_err();
        assert_eq!((fault, fault.status(), fault.headers()), (MethodNotConnect, 405, &[("allow", "CONNECT")][..]));
    }
    type Change = fn(&mut PseudoHeaders<'static>);
    let table: &[(Change, Result<(), ConnectFault>)] = &[
        (|pseudo| pseudo.protocol = None, Err(ProtocolMissing)),
        (|pseudo| pseudo.protocol = Some("webtransport"), Err(ProtocolUnsupported)),
        (|pseudo| pseudo.protocol = Some("WebSocket"), Err(ProtocolUnsupported)),
        (|pseudo| pseudo.protocol = Some(""), Err(ProtocolUnsupported)),
        (|pseudo| pseudo.scheme = None, Err(SchemeInvalid)),
        (|pseudo| pseudo.scheme = Some("wss"), Err(SchemeInvalid)),
        (|pseudo| pseudo.scheme = Some("HTTPS"), Ok(())),
        (|pseudo| pseudo.scheme = Some("http"), Ok(())),
        (|pseudo| pseudo.authority = None, Err(AuthorityInvalid)),
        (|pseudo| pseudo.authority = Some(""), Err(AuthorityInvalid)),
        (|pseudo| pseudo.authority = Some("user@h"), Err(AuthorityInvalid)),
        (|pseudo| pseudo.authority = Some("h:0"), Err(AuthorityInvalid)),
        (|pseudo| pseudo.authority = Some("[::1]:8443"), Ok(())),
        (|pseudo| pseudo.path = None, Err(PathInvalid)),
        (|pseudo| pseudo.path = Some(""), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("*"), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("chat"), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("/a#b"), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("/a b"), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("/a\r\nb"), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("/a\0"), Err(PathInvalid)),
        (|pseudo| pseudo.path = Some("/?a=b"), Ok(())),
    ];
    for (row, (change, expected)) in table.iter().enumerate() {
        assert_eq!(with(*change), *expected, "row {row}");
    }
    assert_eq!(ProtocolUnsupported.status(), 501); // RFC 9220 section 3
}

#[test]
fn each_field_is_held_to_its_rule() {
    use ConnectFault::*;
    use RequestFault as F;
    let table: &[(&str, &[&str], Result<(), ConnectFault>)] = &[
        // What HTTP/1.1 needs and this does not: RFC 8441 section 5.
        ("sec-websocket-key", &["ignored"], Ok(())),
        ("connection", &["upgrade"], Err(FieldOutOfPlace { name: "Connection" })),
        ("upgrade", &["websocket"], Err(FieldOutOfPlace { name: "Upgrade" })),
        ("keep-alive", &["5"], Err(FieldOutOfPlace { name: "Keep-Alive" })),
        ("proxy-connection", &["close"], Err(FieldOutOfPlace { name: "Proxy-Connection" })),
        ("transfer-encoding", &["chunked"], Err(FieldOutOfPlace { name: "Transfer-Encoding" })),
        ("content-length", &["0"], Err(FieldOutOfPlace { name: "Content-Length" })),
        // RFC 9113 section 8.3.1.
        ("host", &["server.example.com"], Ok(())),
        ("host", &["SERVER.example.com:443"], Ok(())),
        ("host", &["server.example.com:80"], Err(HostMismatch)),
        ("host", &["evil.com"], Err(HostMismatch)),
        ("host", &[""], Err(HostMismatch)),
        ("host", &["server.example.com", "server.example.com"], Err(HostMismatch)),
        // As in HTTP/1.1.
        ("sec-websocket-version", &[], Err(Request(F::VersionMissing))),
        ("sec-websocket-version", &["8"], Err(Request(F::VersionUnsupported))),
        ("sec-websocket-version", &["13", "13"], Err(Request(F::VersionUnsupported))),
        ("sec-websocket-protocol", &[], Ok(())),
        ("sec-websocket-protocol", &["a b"], Err(Request(F::SubprotocolMalformed))),
        ("sec-websocket-protocol", &["a", "a"], Err(Request(F::SubprotocolRepeated))),
        ("sec-websocket-extensions", &["x;"], Err(Request(F::ExtensionMalformed))),
        ("origin", &[], Ok(())),
        ("origin", &["https://server.example.com:443"], Ok(())),
        ("origin", &["https://evil.com"], Err(Request(F::OriginForbidden))),
        ("origin", &["null"], Err(Request(F::OriginForbidden))),
    ];
    for (name, values, expected) in table {
        assert_eq!(check(name, values), *expected, "{name}: {values:?}");
    }
}

#[test]
fn the_origin_is_compared_with_the_authority() {
    let pseudo = PseudoHeaders { authority: Some("h:8443"), ..RFC };
    let with = |origin: &'static str| {
        let fields = [("sec-websocket-version", "13"), ("host", "h:8443"), ("origin", origin)];
        // With and without a Host of its own, which has to be the same.
        let [with_host, without] = [&fields[..], &[fields[0], fields[2]]]
            .map(|fields| check_extended_connect(&pseudo, fields, &OriginPolicy::SameOrigin).map(|_| ()));
        assert_eq!(with_host, without);
        without
    };
    assert_eq!(with("https://h:8443"), Ok(()));
    assert_eq!(with("https://h"), Err(RequestFault::OriginForbidden.into()));
}

#[test]
fn faults_know_their_answers() {
    let table = [
        (ConnectFault::ProtocolMissing, 400),
        (ConnectFault::HostMismatch, 400),
        (RequestFault::VersionUnsupported.into(), 400), // a 426 would need Upgrade
        (RequestFault::OriginForbidden.into(), 403),
        (RequestFault::SubprotocolMalformed.into(), 400),
    ];
    for (fault, status) in table {
        assert_eq!(fault.status(), status, "{fault:?}");
    }
    let version = ConnectFault::Request(RequestFault::VersionMissing);
    assert_eq!(version.headers(), [("sec-websocket-version", "13")]);
}

#[test]
fn a_clients_request_is_what_the_rfc_wants() {
    let request = ClientRequest::new("wss://u:p@Server.example.com:8443/chat?x").unwrap();
    let request = request.subprotocol("chat").unwrap().subprotocol("superchat").unwrap();
    let request = request.header("Origin", "https://a").unwrap().header("Keep-Alive", "5").unwrap();
    let connect = connect_request(&request, Some("permessage-deflate"));
    let pseudo = connect.pseudo_headers();
    assert_eq!((pseudo.method, pseudo.protocol, pseudo.scheme), ("CONNECT", Some("websocket"), Some("https")));
    assert_eq!((pseudo.authority, pseudo.path), (Some("server.example.com:8443"), Some("/chat?x")));
    let expected: [(&str, &[u8]); 5] = [
        ("sec-websocket-version", b"13"),
        ("sec-websocket-protocol", b"chat, superchat"),
        ("sec-websocket-extensions", b"permessage-deflate"),
        ("authorization", b"Basic dTpw"),
        ("origin", b"https://a"),
    ];
    assert_eq!(connect.headers.iter().collect::<Vec<_>>(), expected);
    assert!(check_extended_connect(&pseudo, &connect.headers, &OriginPolicy::Any).is_ok());
    let debug = format!("{connect:?}");
    assert!(!debug.contains("dTpw") && !debug.contains("?x"), "{debug}");
    let pseudo = format!("{pseudo:?}");
    assert!(debug.contains(&pseudo) && debug.contains(r#""sec-websocket-version": "13""#), "{debug}");
    assert!(pseudo.starts_with("PseudoHeaders {") && pseudo.contains(r#"path: Some("/chat?(hidden)")"#), "{pseudo}");

    let plain = ClientRequest::new("ws://h").unwrap();
    let connect = connect_request(&plain, Some("a\r\nb: c"));
    assert_eq!((connect.scheme, connect.path, connect.headers.len()), ("http", "/", 1));
    let request = ClientRequest::new("ws://u:p@h").unwrap().header("Authorization", "Bearer x").unwrap();
    let connect = connect_request(&request, None);
    assert_eq!(connect.headers.get_all("authorization").collect::<Vec<_>>(), [b"Bearer x"]);
}

#[test]
fn an_acceptance_has_what_was_chosen() {
    let asked = check_extended_connect(&RFC, RFC_FIELDS, &OriginPolicy::Any).unwrap();
    let acceptance = Acceptance::new().subprotocol("superchat").unwrap().header("Set-Cookie", "a=b").unwrap();
    let fields = connect_acceptance(&asked, &acceptance, Some("permessage-deflate")).unwrap();
    let expected: [(&str, &[u8]); 3] = [
        ("sec-websocket-protocol", b"superchat"),
        ("sec-websocket-extensions", b"permessage-deflate"),
        ("set-cookie", b"a=b"),
    ];
    assert_eq!(fields.iter().collect::<Vec<_>>(), expected);
    assert!(connect_acceptance(&asked, &Acceptance::new(), Some("a\nb")).unwrap().is_empty());
    let other = Acceptance::new().subprotocol("other").unwrap();
    assert_eq!(connect_acceptance(&asked, &other, None), Err(SubprotocolError::NotOffered.into()));
}

#[test]
fn an_answer_opens_with_any_success_and_what_was_offered() {
    use ResponseFault::*;
    let check = |status, fields: Fields| {
        let accepted = check_connect_response(status, fields, &["chat", "superchat"], Some("x; y=1, z"))?;
        Ok((accepted.subprotocol, accepted.extensions.len()))
    };
    for status in 100..=599 {
        let expected = if (200..=299).contains(&status) { Ok((None, 0)) } else { Err(Status { status }) };
        assert_eq!(check(status, &[]), expected);
    }
    type Found = Result<(Option<&'static str>, usize), ResponseFault>;
    let table: &[(Fields, Found)] = &[
        (&[("sec-websocket-protocol", "chat")], Ok((Some("chat"), 0))),
        (&[("sec-websocket-protocol", "other")], Err(SubprotocolNotOffered)),
        (&[("sec-websocket-protocol", "chat, superchat")], Err(SubprotocolRepeated)),
        (&[("sec-websocket-extensions", "z, x")], Ok((None, 2))),
        (&[("sec-websocket-extensions", "w")], Err(ExtensionNotOffered)),
        (&[("sec-websocket-extensions", ";")], Err(ExtensionMalformed)),
        // RFC 8441 section 5: no accept key.
        (&[("sec-websocket-accept", "x")], Ok((None, 0))),
    ];
    for (fields, expected) in table {
        assert_eq!(check(200, fields), *expected, "{fields:?}");
    }
}
