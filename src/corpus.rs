//! Runs the bodies of the fuzz targets over their committed corpora.

#[cfg(all(feature = "deflate", feature = "json"))]
use std::collections::BTreeSet;
use std::path::Path;

use crate::{client, connection, frame, handshake, proxy};

type Body = fn(&[u8]);

/// The targets of `fuzz/`, by name.
const TARGETS: &[(&str, Body)] = &[
    ("header", frame::fuzz::header),
    ("text", frame::fuzz::text),
    ("open", connection::fuzz::open),
    #[cfg(feature = "deflate")]
    ("deflate", connection::fuzz::deflate),
    #[cfg(feature = "deflate")]
    ("extensions", connection::fuzz::extensions),
    ("request", connection::fuzz::request),
    ("response", connection::fuzz::response),
    ("operations", connection::fuzz::operations),
    ("client", client::fuzz::client),
    ("prelude", proxy::fuzz::prelude),
    #[cfg(feature = "json")]
    ("envelope", crate::json::fuzz::envelope),
    ("negotiation", handshake::fuzz::negotiation),
    ("extended_connect", handshake::fuzz::extended_connect),
    ("url", handshake::fuzz::url),
];

/// A target that is not named above is run by nobody but the fuzzer.
#[cfg(all(feature = "deflate", feature = "json"))]
#[test]
fn every_fuzz_target_is_among_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let files =
        std::fs::read_dir(folder).expect("the targets can be listed").map(|file| file.expect("a target").path());
    let targets: BTreeSet<String> = files.map(|path| path.file_stem().expect("a name").display().to_string()).collect();
    let named: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets, named);
}

#[test]
fn every_seed_of_every_fuzz_target_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, body) in TARGETS {
        let mut seeds = 0;
        for seed in std::fs::read_dir(fuzz.join("corpus").join(name)).expect("each target has a corpus") {
            let path = seed.expect("the corpus can be listed").path();
            let bytes = std::fs::read(&path).expect("a seed can be read");
            // Its beginnings are what a peer that breaks off leaves.
            for end in (0..bytes.len().min(200)).chain([bytes.len()]) {
                let held = std::panic::catch_unwind(|| body(&bytes[..end]));
                assert!(held.is_ok(), "{name} fails on the first {end} bytes of {}", path.display());
            }
            seeds += 1;
        }
        assert!(seeds > 0, "no seed for {name}");
        assert!(fuzz.join("fuzz_targets").join(name).with_extension("rs").exists(), "no target {name}");
    }
}
