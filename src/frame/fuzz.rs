//! What must hold of any bytes taken for a header, a text or a close payload. Run by `fuzz/` and by the tests.

use super::*;

/// Bytes as a header: what decodes is encoded to the same bytes, and no prefix of it decodes.
pub fn header(data: &[u8]) {
    let Ok(Some((header, len))) = Header::decode(data) else {
        return;
    };
    let mut out = [0; HEADER_LEN_MAX];
    assert_eq!(header.encode(&mut out), len);
    assert_eq!(out[..len], data[..len]);
    for end in 0..len {
        assert_eq!(Header::decode(&data[..end]), Ok(None));
    }
}

/// Bytes as a text in pieces of a size that the first byte says, and as a close payload.
pub fn text(data: &[u8]) {
    let Some((&size, text)) = data.split_first() else {
        return;
    };
    let valid = std::str::from_utf8(text).is_ok();
    let mut validator = Utf8Validator::new();
    let fed = text.chunks(usize::from(size).max(1)).all(|piece| validator.feed(piece).is_ok());
    assert_eq!(fed && validator.partial_len() == 0, valid);
    assert_eq!(from_utf8(text).is_some(), valid);

    if let Ok(Some(payload)) = ClosePayload::decode(text)
        && text.len() <= CONTROL_PAYLOAD_LEN_MAX
    {
        let mut out = [0; CONTROL_PAYLOAD_LEN_MAX];
        let len = payload.encode(&mut out);
        assert_eq!(&out[..len], text);
    }
}
