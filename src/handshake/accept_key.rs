//! The key of the request and the digest that answers it (RFC 6455 sections 4.1 and 4.2.2).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// The value of `Sec-WebSocket-Accept`: the Base64 of a SHA-1 digest, 28 ASCII bytes.
///
/// It proves that the server read the request as a WebSocket request; it is no secret and
/// authenticates nobody. RFC 6455 section 4.2.2, step 5.4.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub struct AcceptKey(Base64<28>);

impl AcceptKey {
    /// The value as it goes into the field.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The value as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_str().as_bytes()
    }
}

/// The value of `Sec-WebSocket-Key`: the Base64 of sixteen bytes, 24 ASCII bytes.
///
/// Made by [`encode_key`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub struct ClientKey(Base64<24>);

impl ClientKey {
    /// The value as it goes into the field.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The value as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_str().as_bytes()
    }

    /// What a server must answer to this key.
    pub fn accept(&self) -> AcceptKey {
        accept_key(self.as_bytes())
    }
}

/// What a server answers to `key`, the value of `Sec-WebSocket-Key` without surrounding whitespace.
///
/// The bytes are hashed as they are, without decoding them. RFC 6455 section 4.2.2, step 5.4.
///
/// ```
/// use sansocket::handshake::accept_key;
///
/// assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &[u8]) -> AcceptKey {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    AcceptKey(Base64::encode(&sha1.finalize()))
}

/// The value of `Sec-WebSocket-Key` for sixteen random bytes.
///
/// They must be fresh for each connection; a repeated key lets a cache answer in the server's place.
/// RFC 6455 section 4.1, item 7.
pub fn encode_key(nonce: [u8; 16]) -> ClientKey {
    ClientKey(Base64::encode(&nonce))
}

/// Whether `value` is the Base64 of exactly sixteen bytes.
///
/// The four bits that Base64 leaves over may be anything: RFC 4648 section 3.5 lets a decoder ignore
/// them, and clients that pick 22 random letters are about.
pub(super) fn is_key(value: &[u8]) -> bool {
    // 18 is what the decoder reserves for 24 letters; the padding makes it 16.
    let mut nonce = [0; 18];
    matches!(LENIENT.decode_slice(value, &mut nonce), Ok(16))
}

/// Base64 text of a length that is known beforehand.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
struct Base64<const N: usize>([u8; N]);

impl<const N: usize> Base64<N> {
    /// `N` must be the length of the encoded `bytes`, or the text is cut or padded with `=`.
    fn encode(bytes: &[u8]) -> Self {
        let mut text = [b'='; N];
        // Cannot fail: both callers fix the two lengths in their types.
        let written = LENIENT.encode_slice(bytes, &mut text);
        debug_assert_eq!(written, Ok(N), "the buffer fits the text");
        Self(text)
    }

    fn as_str(&self) -> &str {
        // Cannot fail: the alphabet is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> std::fmt::Debug for Base64<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The standard alphabet with padding, canonical or not in its last letter.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(encode_key(*b"the sample nonce").as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        // RFC 6455 section 4.1, the bytes 01 to 10.
        let nonce = std::array::from_fn(|i| i as u8 + 1);
        assert_eq!(encode_key(nonce).as_str(), "AQIDBAUGBwgJCgsMDQ4PEA==");
    }

    #[test]
    fn every_encoded_key_is_a_key() {
        for byte in 0..=255 {
            let key = encode_key([byte; 16]);
            assert!(is_key(key.as_bytes()), "{key:?}");
            assert_eq!(format!("{key:?}"), format!("ClientKey({:?})", key.as_str()));
            assert_eq!(key.accept(), accept_key(key.as_bytes()));
        }
    }

    #[test]
    fn a_key_is_the_base64_of_sixteen_bytes_and_nothing_else() {
        let table: [(&[u8], bool); 12] = [
            (b"dGhlIHNhbXBsZSBub25jZQ==", true),
            (b"dGhlIHNhbXBsZSBub25jZR==", true), // left-over bits set: RFC 4648 section 3.5
            (b"", false),
            (b"dGhlIHNhbXBsZSBub25jZQ", false),   // no padding
            (b"dGhlIHNhbXBsZSBub25jZQ= ", false), // a blank in its place
            (b"dGhlIHNhbXBsZSBub25jZTE=", false), // 17 bytes
            (b"dGhlIHNhbXBsZSBub25jZTEy", false), // 18 bytes
            (b"dGhlIHNhbXBsZSBub25j", false),     // 15 bytes
            (b"dGhlIHNhbXBsZSBub25jZQ==dGhl", false),
            (b"dGhlIHNhbXBsZSBub25j-_==", false), // the URL alphabet
            (b"dGhlIHNhbXBsZSBub25j\xff\xff==", false),
            (b"========================", false),
        ];
        for (value, expected) in table {
            assert_eq!(is_key(value), expected, "{}", String::from_utf8_lossy(value));
        }
    }
}
