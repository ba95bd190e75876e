//! Holds sansocket against other implementations: the same bytes, the same verdict. See README.md.

mod allowed;
mod cases;
mod handshakes;
mod subjects;
mod verdict;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde_json::{Value, json};

use allowed::Difference;
use verdict::{Role, Verdict, hex};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let python = arguments.next().unwrap_or_else(|| "python3".into());
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let first: u64 = arguments.next().and_then(|first| first.parse().ok()).unwrap_or(0);
    let mut python = Python::start(&python);
    let mut tally = Tally::default();

    for seed in first..first + count {
        for role in [Role::Server, Role::Client] {
            let bytes = cases::stream(seed, role);
            let (ours, cause) = subjects::sansocket(role, &bytes);
            let mut theirs = vec![
                ("tungstenite", subjects::tungstenite(role, &bytes)),
                ("fastwebsockets", subjects::fastwebsockets(role, &bytes)),
            ];
            let answer = python.ask(&json!({"role": format!("{role:?}"), "bytes": hex(&bytes)}));
            for name in ["websockets", "wsproto"] {
                let verdict = Verdict::from_json(&answer[name]).expect("peers.py answers with a verdict");
                theirs.push((name, verdict));
            }
            for (name, verdict) in theirs {
                let difference = Difference { name, bytes: &bytes, ours: &ours, cause: &cause, theirs: &verdict };
                tally.compare(&difference, || format!("seed {seed} {role:?} {}", hex(&bytes)));
            }
        }
    }
    handshakes::run(&mut python, &mut tally);
    tally.report()
}

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

    fn compare_handshake(
        &mut self,
        name: &'static str,
        ours: bool,
        theirs: bool,
        why: Option<&'static str>,
        case: &str,
    ) {
        match why {
            _ if ours == theirs => *self.agreed.entry(name).or_default() += 1,
            Some(why) => *self.allowed.entry((name, why)).or_default() += 1,
            None => self.unexplained.push(format!("{name}: ours {ours}, theirs {theirs}: {case:?}")),
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
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn start(interpreter: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py");
        let child =
            Command::new(interpreter).arg("-u").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the interpreter runs");
        Self { to: child.stdin.take().expect("piped"), from: BufReader::new(child.stdout.take().expect("piped")) }
    }

    fn ask(&mut self, case: &Value) -> Value {
        writeln!(self.to, "{case}").expect("peers.py reads");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("peers.py writes");
        serde_json::from_str(&line).expect("peers.py answers in JSON")
    }
}
