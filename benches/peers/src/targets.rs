//! What the core has to reach beside the others, and whether it does.

use harness::Table;
use sansocket::Role;

use crate::subjects::{FLOOR, MEMCPY, SUBJECTS};
use crate::wire::{Case, Direction, Kind};
use crate::{Figures, Matrix};

struct Target {
    what: &'static str,
    applies: fn(&Case) -> bool,
    /// At most this part of the fastest peer's time.
    of_peer: f64,
    /// At most this part of the floor's time.
    of_floor: Option<f64>,
    /// No allocation at all.
    no_allocation: bool,
}

const SMALL: usize = 1024;

const TARGETS: [Target; 7] = [
    Target {
        what: "receive binary and ASCII up to 1 KiB",
        applies: |case| case.direction == Direction::Receive && case.kind != Kind::Mixed && case.len <= SMALL,
        of_peer: 0.6,
        of_floor: Some(2.0),
        no_allocation: true,
    },
    Target {
        what: "receive binary and ASCII from 16 KiB",
        applies: |case| case.direction == Direction::Receive && case.kind != Kind::Mixed && case.len > SMALL,
        of_peer: 1.0,
        of_floor: Some(1.1),
        no_allocation: false,
    },
    Target {
        what: "receive mixed text up to 1 KiB",
        applies: |case| case.direction == Direction::Receive && case.kind == Kind::Mixed && case.len <= SMALL,
        of_peer: 0.9,
        of_floor: None,
        no_allocation: true,
    },
    Target {
        what: "receive mixed text from 16 KiB",
        applies: |case| case.direction == Direction::Receive && case.kind == Kind::Mixed && case.len > SMALL,
        of_peer: 1.0,
        of_floor: None,
        no_allocation: false,
    },
    Target {
        what: "send as server up to 1 KiB",
        applies: |case| case.direction == Direction::Send && case.role == Role::Server && case.len <= SMALL,
        of_peer: 0.9,
        of_floor: None,
        no_allocation: true,
    },
    Target {
        what: "send as server from 16 KiB, without a copy",
        applies: |case| case.direction == Direction::Send && case.role == Role::Server && case.len > SMALL,
        of_peer: 1.2,
        of_floor: None,
        no_allocation: false,
    },
    Target {
        what: "send as client",
        applies: |case| case.direction == Direction::Send && case.role == Role::Client,
        of_peer: 0.9,
        of_floor: None,
        no_allocation: false,
    },
];

/// The targets as a table: how each case stands.
pub(crate) fn report(cases: &[Case], figures: &Matrix) -> String {
    let mut table = Table::new(["target", "case", "of the fastest peer", "of the floor", "allocations", "holds"]);
    for target in &TARGETS {
        for (case, row) in cases.iter().zip(figures).filter(|(case, _)| (target.applies)(case)) {
            table.row(judge(target, case, row));
        }
    }
    table.to_string()
}

fn judge(target: &Target, case: &Case, row: &[Option<Figures>]) -> [String; 6] {
    let named = |name: &str| SUBJECTS.iter().position(|subject| subject.name == name).and_then(|at| row[at]);
    let own = row[0].expect("the core does all of it");
    let (fastest, peer) = (1..)
        .zip(&row[1..])
        .filter_map(|(at, figures)| Some((SUBJECTS[at].name, figures.as_ref()?.ns)))
        .filter(|(name, _)| ![FLOOR, MEMCPY].contains(name))
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
        .expect("there are peers");
    let of_peer = own.ns / peer;
    let of_floor = own.ns / named(FLOOR).expect("the floor does all of it").ns;
    let holds = of_peer <= target.of_peer
        && target.of_floor.is_none_or(|max| of_floor <= max)
        && (!target.no_allocation || own.allocations < 0.01);
    let bound = |max: Option<f64>| max.map_or_else(String::new, |max| format!(" ≤ {max}"));
    [
        target.what.to_owned(),
        format!("{} {}", case.group(), case.len),
        format!("{of_peer:.2}{} ({fastest})", bound(Some(target.of_peer))),
        format!("{of_floor:.2}{}", bound(target.of_floor)),
        format!("{:.2}", own.allocations),
        if holds { "yes" } else { "**no**" }.to_owned(),
    ]
}
