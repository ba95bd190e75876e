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
}

/// Bytes as a URL: what is accepted makes one well-formed request.
pub fn url(data: &[u8]) {
    let Ok(url) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(request) = ClientRequest::new(url) else {
        return;
    };
    let mut wire = Vec::new();
    request.encode(&encode_key([7; 16]), None, &mut wire);
    assert_eq!(HeadScanner::default().scan(&wire, wire.len()), Ok(Some(wire.len())), "{url}");
    let head = parse_request(&wire, 20).unwrap_or_else(|fault| panic!("{url}: {fault}"));
    assert_eq!(head.check(&OriginPolicy::default()).err(), None, "{url}");
    assert_eq!(head.target, request.url().target());
}
