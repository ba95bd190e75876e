//! What callers may do with the types, as a promise: send them to other threads, share them, move them while pinned.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sansocket::buffer::*;
use sansocket::client::*;
use sansocket::connection::*;
use sansocket::frame::*;
use sansocket::handshake::*;
use sansocket::proxy::*;
use sansocket::{ByteString, Bytes, Message, MessageKind};

fn holds<T: Send + Sync + Unpin>() {}

macro_rules! promised {
    ($($name:ident $(<$($argument:tt),*>)?),* $(,)?) => {
        [$({ holds::<$name $(<$($argument),*>)?>(); stringify!($name) }),*]
    };
}

#[test]
fn every_public_type_is_send_sync_and_unpin() {
    let promised: BTreeSet<&str> = [
        &promised![RecvBuf][..],
        &promised![
            Attempt,
            Auth,
            AuthAnswer,
            Backoff,
            BackoffConfig,
            Beat,
            Cause,
            Client,
            ClientConfig,
            ClientEvent,
            ClientOptions,
            ClientState,
            ConnectFailure,
            ConnectFailureKind,
            Delivery,
            DropReason,
            End,
            Heartbeat,
            HeartbeatConfig,
            HeartbeatOrder,
            Jitter,
            Metrics,
            Order,
            Outcome,
            Overflow,
            Pool,
            Prepared,
            QueueConfig,
            RejectReason,
            Rejected,
            RetryPolicy,
            Token,
            Verdict,
        ],
        &promised![
            AcceptError,
            Accepts,
            AgreedExtensions,
            CloseCause,
            Closed,
            Config,
            Connection,
            Deadline,
            Event<'static>,
            FragmentPosition,
            ProtocolError,
            ReadyState,
            Role,
            SendError,
            Side,
            StreamOrder,
        ],
        &promised![
            CloseCode,
            ClosePayload<'static>,
            ClosePayloadError,
            Header,
            HeaderDecoder,
            HeaderError,
            Opcode,
            Rsv,
            Utf8Error,
            Utf8Validator,
        ],
        &promised![
            AcceptKey,
            Acceptance,
            Accepted<'static>,
            AnswerError,
            BodyFraming,
            ChunkedPrefix,
            ClientKey,
            ClientRequest,
            ConnectFault,
            ConnectFields<'static>,
            ExtendedConnect<'static>,
            Extension<'static>,
            ExtensionError,
            Extensions<'static, [&'static [u8]; 1]>,
            FieldError,
            HeadError,
            HeadScanner,
            Headers<'static>,
            HttpVersion,
            Origin,
            OriginError,
            OriginPolicy,
            OwnedHeaders,
            OwnedRequestHead,
            Params<'static>,
            PseudoHeaders<'static>,
            RedirectError,
            Redirects,
            Refusal,
            Rejection,
            RequestError,
            RequestFault,
            RequestHead<'static>,
            ResponseFault,
            ResponseHead<'static>,
            RetryAfter<'static>,
            SubprotocolError,
            UpgradeRequest,
            UrlError,
            WsUrl,
        ],
        &promised![
            Credentials,
            Prelude,
            PreludeConfig,
            PreludeError,
            Proxy,
            ProxyError,
            ProxyKind,
            ProxyRules,
            ProxyUrlError,
            SocksReply,
            Target,
        ],
        &promised![ByteString, Bytes, Message, MessageKind],
        #[cfg(feature = "deflate")]
        &of_deflate(),
        #[cfg(feature = "json")]
        &of_json(),
    ]
    .concat()
    .into_iter()
    .collect();
    let forgotten: Vec<String> = public_types().into_iter().filter(|name| !promised.contains(&name[..])).collect();
    assert_eq!(forgotten, [""; 0], "public types of which nothing is promised");
}

#[cfg(feature = "deflate")]
fn of_deflate() -> Vec<&'static str> {
    use sansocket::deflate::*;
    promised![
        Compression,
        DeflateAnswer,
        DeflateConfig,
        DeflateParams,
        DeflatePool,
        DeflateTotals,
        InvalidParams,
        PreparedMessage,
    ]
    .to_vec()
}

#[cfg(feature = "json")]
fn of_json() -> Vec<&'static str> {
    use sansocket::json::*;
    promised![
        AckFields,
        Deduplicator,
        EncodeError,
        Envelope,
        EnvelopeFormat,
        Ids,
        JsonConfig,
        JsonEvent,
        MalformedReason,
        OnLost,
        Payload,
        RequestFailure,
        RequestId,
        RequestRefused,
        Requests,
    ]
    .to_vec()
}

/// The names of types that the modules of `src` re-export, by what is written there.
fn public_types() -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for module in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let file = module.unwrap().path().join("mod.rs");
        let Some(text) = file.exists().then(|| fs::read_to_string(&file).unwrap()) else { continue };
        if !cfg!(feature = "deflate") && file.parent().unwrap().ends_with("deflate")
            || !cfg!(feature = "json") && file.parent().unwrap().ends_with("json")
        {
            continue;
        }
        let mut rest = &text[..];
        while let Some(at) = rest.find("\npub use ") {
            let is_gated = rest[..at].lines().last().is_some_and(|line| line.starts_with("#[cfg"));
            let (one, behind) = rest[at + 1..].split_once(';').expect("a use ends");
            rest = behind;
            let names = one.split(|c: char| !c.is_alphanumeric() && c != '_');
            let is_type = |name: &&str| name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
            types.extend(names.filter(is_type).filter(|_| !is_gated).map(str::to_owned));
        }
    }
    types.remove("HeaderMap"); // a trait
    assert!(types.len() > 100, "{types:?}");
    types
}
