//! Holds sansocket against other implementations: the same bytes, the same verdict. See README.md.

mod allowed;
mod cases;
mod frames;
mod handshakes;
mod subjects;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde_json::{Value, json};

use allowed::Difference;
use handshakes::Row;
use subjects::Limits;
use verdict::{Role, Verdict, hex};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let python = arguments.next().unwrap_or_else(|| "python3".into());
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let first: u64 = arguments.next().and_then(|first| first.parse().ok()).unwrap_or(0);
    let python = RefCell::new(Python::start(&python));
    let mut tally = Tally::default();

    let others: [(&str, &Other<'_>); 4] = [
        ("tungstenite", &subjects::tungstenite),
        ("fastwebsockets", &subjects::fastwebsockets),
        ("websockets", &|role, bytes| python.borrow_mut().verdict("websockets", role, bytes)),
        ("wsproto", &|role, bytes| python.borrow_mut().verdict("wsproto", role, bytes)),
    ];
    for seed in first..first + count {
        for role in [Role::Server, Role::Client] {
            let bytes = cases::stream(seed, role);
            let (ours, cause) = subjects::sansocket(role, &bytes, Limits::Usual);
            for (name, other) in others {
                let (theirs, again) = (other(role, &bytes), |bytes: &[u8]| other(role, bytes));
                let (ours, theirs, bytes) = (&ours, &theirs, bytes.as_slice());
                let difference = Difference { name, role, bytes, ours, cause: &cause, theirs, again: &again };
                tally.compare(&difference, || format!("seed {seed} {role:?} {}", hex(bytes)));
            }
        }
    }
    if count >= CASES_THAT_SHOW_ALL {
        tally.look_for_what_is_never_used();
    }
    handshakes::run(&mut python.borrow_mut(), &mut tally);
    tally.report()
}

/// What an implementation in this role makes of these bytes.
type Other<'a> = dyn Fn(Role, &[u8]) -> Verdict + 'a;

/// What agreed, what differed as it may, and what did not.
#[derive(Default)]
pub struct Tally {
    agreed: BTreeMap<&'static str, u64>,
    allowed: BTreeMap<(&'static str, &'static str), u64>,
    unexplained: Vec<String>,
}

impl Tally {
    fn compare(&mut self, between: &Difference<'_>, case: impl Fn() -> String) {
        let Difference { name, ours, theirs, cause, .. } = *between;
        if ours == theirs {
            *self.agreed.entry(name).or_default() += 1;
        } else if let Some(why) = allowed::explain(between) {
            *self.allowed.entry((name, why)).or_default() += 1;
        } else {
            let (ours, theirs) = (ours.to_json(), theirs.to_json());
            self.unexplained.push(format!("{name}: {}\n  ours   {ours} {cause}\n  theirs {theirs}", case()));
        }
    }

    /// An allowance that is never used hides what it was not made for.
    fn look_for_what_is_never_used(&mut self) {
        let unused = allowed::allowances().filter(|allowance| !self.allowed.contains_key(allowance));
        self.unexplained.extend(unused.map(|(name, why)| format!("{name}: never differs in this: {why}")));
    }

    /// Our own verdict has to be that of the row; the other's has to be the same or the opposite, as the row says.
    fn compare_handshake(&mut self, name: &'static str, ours: bool, theirs: bool, row: &Row, case: &str) {
        let differs = row.differs.contains(&name);
        if ours != row.is_taken {
            self.unexplained.push(format!("ours {ours}, not as the row says: {case:?}"));
        } else if (ours != theirs) != differs {
            self.unexplained.push(format!("{name}: ours {ours}, theirs {theirs}: {case:?}"));
        } else if differs {
            *self.allowed.entry((name, row.why)).or_default() += 1;
        } else {
            *self.agreed.entry(name).or_default() += 1;
        }
    }

    fn report(&self) -> ExitCode {
        for (name, count) in &self.agreed {
            println!("{name}: agrees in {count} cases");
            for ((_, why), count) in self.allowed.iter().filter(|((of, _), _)| of == name) {
                println!("  differs in {count}: {why}");
            }
        }
        for difference in self.unexplained.iter().take(20) {
            println!("{difference}");
        }
        println!("{} differences that nothing explains", self.unexplained.len());
        if self.unexplained.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// `peers.py`, one line at a time.
pub struct Python {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn start(interpreter: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py");
        let child =
            Command::new(interpreter).arg("-u").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = child.expect("the interpreter runs");
        let (to, from) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        Self { process, to, from: BufReader::new(from) }
    }

    fn ask(&mut self, case: &Value) -> Value {
        writeln!(self.to, "{case}").expect("peers.py reads");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("peers.py writes");
        serde_json::from_str(&line).expect("peers.py answers in JSON")
    }

    fn verdict(&mut self, name: &str, role: Role, bytes: &[u8]) -> Verdict {
        let answer = self.ask(&json!({"name": name, "role": format!("{role:?}"), "bytes": hex(bytes)}));
        Verdict::from_json(&answer).expect("peers.py answers with a verdict")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// So many that each difference comes up that there is.
const CASES_THAT_SHOW_ALL: u64 = 20_000;
