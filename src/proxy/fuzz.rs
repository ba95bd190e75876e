//! What must hold of any bytes from a proxy. Run by `fuzz/` and by the tests.

use super::drive;

/// A proxy of the kind that the first byte says; the second says how the rest, which is what it sends, is cut.
pub fn prelude(data: &[u8]) {
    let Some((&[kind, sizes], wire)) = data.split_first_chunk() else {
        return;
    };
    let proxies = ["http://proxy", "http://user:pass@proxy", "socks5h://proxy", "socks5h://user:pass@proxy"];
    let proxy = proxies[usize::from(kind) % proxies.len()];
    let (written, outcome, tunnel) = drive::drive(drive::prelude(proxy), wire, &[wire.len()]);
    let pieces = [1 + usize::from(sizes & 0xF), 1 + usize::from(sizes >> 4)];
    let cut = drive::drive(drive::prelude(proxy), wire, &pieces);
    assert_eq!((&cut.1, &cut.2), (&outcome, &tunnel), "the cut changes the outcome or the tunnel");
    if outcome.is_ok() {
        assert_eq!(cut.0, written, "the cut changes what is asked");
        assert!(wire.ends_with(&tunnel), "the tunnel is what the proxy sent last");
    }
}
