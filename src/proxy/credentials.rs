//! A name and a password for a proxy.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::PreludeError;

/// A user name and a password. Its `Debug` form shows neither.
///
/// They are bytes; text is sent as UTF-8, which RFC 7617 section 2.1 recommends and RFC 1929 leaves open. Either may be empty: proxies
/// that take a token want it in one place or the other.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Box<[u8]>,
    password: Box<[u8]>,
}

impl Credentials {
    /// Checks that neither holds a control byte: CR, LF, NUL and the like, which RFC 7617 section 2 excludes.
    ///
    /// Further limits depend on the kind of proxy, and are checked when a prelude is made.
    ///
    /// # Errors
    ///
    /// [`PreludeError::CredentialsInvalid`].
    pub fn new(user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Result<Self, PreludeError> {
        let (user, password) = (user.as_ref(), password.as_ref());
        if user.iter().chain(password).any(u8::is_ascii_control) {
            return Err(PreludeError::CredentialsInvalid);
        }
        Ok(Self { user: user.into(), password: password.into() })
    }

    /// The value of `Proxy-Authorization`. RFC 7617 section 2.
    pub(super) fn basic(&self) -> Result<String, PreludeError> {
        if self.user.contains(&b':') {
            return Err(PreludeError::UserHasColon);
        }
        Ok(format!("Basic {}", STANDARD.encode([&self.user, &b":"[..], &self.password].concat())))
    }

    /// The message that logs in to a SOCKS5 proxy. RFC 1929 section 2.
    pub(super) fn socks_login(&self) -> Result<Vec<u8>, PreludeError> {
        let user_len = u8::try_from(self.user.len()).map_err(|_| PreludeError::UserTooLong { len: self.user.len() })?;
        let password_len = u8::try_from(self.password.len())
            .map_err(|_| PreludeError::PasswordTooLong { len: self.password.len() })?;
        Ok([&[LOGIN_VERSION, user_len], &self.user[..], &[password_len], &self.password].concat())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// RFC 1929 section 2.
pub(super) const LOGIN_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_encoded_as_the_rfcs_say() {
        // RFC 7617 section 2, RFC 1929 section 2.
        let credentials = Credentials::new("Aladdin", "open sesame").unwrap();
        assert_eq!(credentials.basic().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(credentials.socks_login().unwrap(), b"\x01\x07Aladdin\x0bopen sesame");
        let empty = Credentials::new("", "").unwrap();
        assert_eq!(
            (empty.basic().unwrap().as_str(), &empty.socks_login().unwrap()[..]),
            ("Basic Og==", &b"\x01\0\0"[..])
        );
    }

    #[test]
    fn no_control_byte_gets_into_credentials() {
        for byte in 0..=255u8 {
            let text = [b'a', byte, b'b'];
            for found in [Credentials::new(text, "p"), Credentials::new("u", text)] {
                let is_control = byte < 0x20 || byte == 0x7f;
                assert_eq!(found.err(), is_control.then_some(PreludeError::CredentialsInvalid), "byte {byte:#04x}");
            }
        }
    }

    #[test]
    fn a_colon_in_the_name_would_move_its_end() {
        let credentials = Credentials::new("a:b", "c:d").unwrap();
        assert_eq!(credentials.basic(), Err(PreludeError::UserHasColon));
        assert_eq!(credentials.socks_login().unwrap(), b"\x01\x03a:b\x03c:d");
        assert!(Credentials::new("a", "c:d").unwrap().basic().is_ok());
    }

    #[test]
    fn socks_names_and_passwords_have_at_most_255_bytes() {
        for len in [0, 1, 254, 255, 256, 257, 65_536] {
            let text = "x".repeat(len);
            let user = Credentials::new(&text, "p").unwrap().socks_login();
            let password = Credentials::new("u", &text).unwrap().socks_login();
            if len <= 255 {
                assert_eq!((user.unwrap().len(), password.unwrap().len()), (len + 4, len + 4));
            } else {
                assert_eq!(user, Err(PreludeError::UserTooLong { len }));
                assert_eq!(password, Err(PreludeError::PasswordTooLong { len }));
            }
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Credentials::new("someone", "s3cret").unwrap()), "Credentials(hidden)");
    }
}
