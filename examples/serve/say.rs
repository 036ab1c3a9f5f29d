//! What the service says to whoever started it. That nobody reads it any more, which `println!` panics at, is no reason
//! to end.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

pub fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

pub fn complain(problem: impl Display) {
    let _ = writeln!(stderr(), "serve: {problem}");
}
