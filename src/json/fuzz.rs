//! What must hold of any text that is taken for an envelope. Run by `fuzz/` and by the tests.

use super::*;

/// A text in each of the formats: what decodes is an envelope, whose parts survive being sent.
pub fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let with_acks = EnvelopeFormat { acks: Some(AckFields::default()), ..EnvelopeFormat::default() };
    for format in [EnvelopeFormat::default(), EnvelopeFormat::json_rpc(), with_acks] {
        let Ok(envelope) = format.decode(&text.into()) else {
            continue;
        };
        assert!(!envelope.kind.is_empty() || envelope.id.is_some() || envelope.ack.is_some(), "{envelope:?}");
        for payload in [Some(&envelope.payload), envelope.error.as_ref(), envelope.id.as_ref()].into_iter().flatten() {
            assert!(payload.parse::<serde::de::IgnoredAny>().is_ok(), "{payload:?} is no JSON");
        }
        if let Some(id) = &envelope.id {
            let answered =
                format.answer(id, "answer").map(|message| format.decode(&message.as_text().unwrap_or_default().into()));
            let Ok(Ok(answered)) = answered else { panic!("no answer to {id:?}: {answered:?}") };
            assert_eq!(answered.id.as_ref(), Some(id));
        }
        let session = envelope.session.as_deref().unwrap_or_default();
        let numbered = format.numbered(&envelope.kind, &1, 7, session);
        let again = numbered.map(|message| format.decode(&message.as_text().unwrap_or_default().into()));
        match again {
            Ok(Ok(again)) => {
                assert_eq!(again.kind, envelope.kind);
                let is_numbered = format.acks.is_some();
                assert_eq!(
                    (again.seq, again.session.as_deref()),
                    (is_numbered.then_some(7), is_numbered.then_some(session))
                );
            }
            again => assert!(envelope.kind.is_empty(), "{again:?}"),
        }
    }
}
