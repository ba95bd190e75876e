//! The adapter over real sockets of this machine.

mod clients;
mod compression;
mod deadlines;
mod ends;
mod handshakes;
mod messages;
mod pieces;
mod support;
mod ways;
mod writing;
