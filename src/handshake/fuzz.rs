//! What must hold of any bytes taken for header fields or a URL. Run by `fuzz/` and by the tests.

use super::*;

/// Bytes as fields of the negotiation, a line each.
pub fn negotiation(data: &[u8]) {
    let values: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if let Ok(extensions) = parse_extensions(values.iter().copied()) {
        for extension in extensions {
            assert!(is_token(extension.name().as_bytes()));
        }
    }
    let fields: Vec<(&str, &[u8])> = values.iter().map(|value| ("Sec-WebSocket-Protocol", *value)).collect();
    if let Ok(offered) = offered_subprotocols(&fields[..]) {
        for name in offered {
            assert!(is_token(name.as_bytes()));
            assert!(is_subprotocol_offered(&fields[..], name));
        }
    }
    has_token(values.iter().copied(), "upgrade");
    let origin: Vec<(&str, &[u8])> =
        [("Host", &b"example.com"[..])].into_iter().chain(values.iter().map(|value| ("Origin", *value))).collect();
    if OriginPolicy::default().allows(&origin[..]) {
        let origin = values.first().copied().unwrap_or_default().to_ascii_lowercase();
        let origin = String::from_utf8_lossy(&origin).into_owned();
        assert!(origin.contains("://example.com"), "{origin} is not of example.com");
    }
    for text in values.iter().filter_map(|value| std::str::from_utf8(value).ok()) {
        let Ok(origin) = Origin::parse(text) else {
            continue;
        };
        assert_eq!(Origin::parse(&origin.to_string()).as_ref(), Ok(&origin), "{text}");
        let policy = OriginPolicy::List(vec![origin]);
        assert!(policy.allows(&[("Origin", text)]), "{text}");
        assert!(!policy.allows(&[("Origin", format!("{text}.evil"))]), "{text}");
    }
}

/// Bytes as a request of HTTP/2: the pseudo-header fields, a line each, then fields. What is accepted is what may be.
pub fn extended_connect(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n').map(|line| std::str::from_utf8(line).ok());
    let mut line = || lines.next().flatten().filter(|line| !line.is_empty());
    let method = line().unwrap_or("CONNECT");
    let (protocol, scheme, authority, path) = (line(), line(), line(), line());
    let pseudo_headers = PseudoHeaders { method, protocol, scheme, authority, path };
    let fields: Vec<(&str, &str)> = lines.flatten().filter_map(|line| line.split_once(": ")).collect();
    for origin in [OriginPolicy::default(), OriginPolicy::Any] {
        match check_extended_connect(&pseudo_headers, &fields[..], &origin) {
            Ok(asked) => {
                assert_eq!((method, protocol, path), ("CONNECT", Some("websocket"), Some(asked.path)));
                assert!(asked.path.starts_with('/') && !asked.authority.is_empty(), "{asked:?}");
                assert!(asked.subprotocols.iter().all(|name| is_token(name.as_bytes())), "{asked:?}");
            }
            Err(fault) => assert!((400..600).contains(&fault.status()), "{fault}: {}", fault.status()),
        }
    }
}

/// Bytes as a URL, and behind a line feed as what redirects from there and as a parameter: what is accepted makes one well-formed request, and
/// credentials stay where they belong.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (url, more) = text.split_once('\n').unwrap_or((text, ""));
    let with_credentials = |request: ClientRequest| request.header("Cookie", "s3cret=1");
    let Ok(Ok(request)) = ClientRequest::new(url).map(with_credentials) else {
        return;
    };
    is_well_formed(&request);
    let (name, value) = more.split_once('=').unwrap_or((more, ""));
    is_well_formed(&request.url().clone().with_query_parameter(name, value).into());

    let mut headers = OwnedHeaders::new();
    if headers.push("Location", more).is_err() {
        return;
    }
    let refusal = Refusal { status: 307, headers, body: Default::default(), body_truncated: false };
    if let Ok(next) = request.redirected(&refusal) {
        is_well_formed(&next);
        let (from, to) = (request.url(), next.url());
        assert!(to.is_secure() || !from.is_secure(), "{more}: into the clear");
        let stays = (from.is_secure(), from.host(), from.port()) == (to.is_secure(), to.host(), to.port());
        assert_eq!(next.headers().get("Cookie").is_some(), stays, "{url} to {more}");
    }
}

fn is_well_formed(request: &ClientRequest) {
    let url = request.url();
    let mut wire = Vec::new();
    request.encode(&encode_key([7; 16]), None, &mut wire);
    assert_eq!(HeadScanner::default().scan(&wire, wire.len()), Ok(Some(wire.len())), "{url:?}");
    let head = parse_request(&wire, 20).unwrap_or_else(|fault| panic!("{url:?}: {fault}"));
    assert_eq!(head.check(&OriginPolicy::default()).err(), None, "{url:?}");
    assert_eq!(head.target, url.target());
}
