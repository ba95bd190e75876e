//! User-space instructions, counted by valgrind's callgrind: they depend on the code and the compiler, not on the machine's mood.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};

/// For programs under callgrind: copies go by vector registers. `rep movsb` would count once a byte, and whether it is used depends on the
/// processor.
pub const GLIBC_TUNABLES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=4294967296:glibc.cpu.x86_rep_stosb_threshold=4294967296";

/// Runs this very program under callgrind with `args`, and returns how many instructions each call of [`counted_work`] took, in order.
///
/// # Panics
/// When valgrind is missing or the program fails: there is nothing to report then.
pub fn count_instructions(args: &[&str]) -> Vec<u64> {
    let program = std::env::current_exe().expect("the program's own path");
    let dir = std::env::temp_dir().join(format!("callgrind-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for callgrind's output");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--zero-before=*begin_to_count*", "--dump-after=*counted_work*"])
        .arg(format!("--callgrind-out-file={}", dir.join("out").display()))
        .arg(program)
        .args(args)
        // `rep movsb` counts once a byte, and whether it is used depends on the processor: copies are to go by vector registers.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.x86_rep_movsb_threshold=4294967296:glibc.cpu.x86_rep_stosb_threshold=4294967296",
        )
        .stdout(Stdio::null())
        .status()
        .expect("valgrind runs; install it by your package manager");
    assert!(status.success(), "under valgrind: {status}");
    let counts = (1..).map_while(|part| total_instructions(&dir.join(format!("out.{part}")))).collect();
    fs::remove_dir_all(&dir).expect("callgrind's output can be removed");
    counts
}

/// The work whose instructions count.
#[inline(never)]
pub fn counted_work(work: &mut dyn FnMut()) {
    begin_to_count();
    work();
    // A call in the last place would be a jump, whose end callgrind does not see.
    black_box(());
}

/// A function of its own, because callgrind takes one order for each.
#[inline(never)]
fn begin_to_count() {
    black_box(());
}

/// The sum in one of callgrind's dumps; `None` when there is no such dump.
pub fn total_instructions(path: &Path) -> Option<u64> {
    let dump = fs::read_to_string(path).ok()?;
    let total = dump.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Some(total.and_then(|total| total.trim().parse().ok()).expect("a dump of callgrind has a total"))
}
