//! Are the crate's orders torch's? Checks files of rows that torch drew.
//!
//! ```sh
//! cargo run --release --example golden -- FILE.json [FILE.json …]
//! ```
//!
//! A file is `{"torch": "2.11.0", "rows": [{"kind": "randperm", "seed": 0, "n": 10, "result": [4, 1, …]}, …]}`, as
//! `fixtures/golden/torch_orders.py` writes it. For each kind of row it says how many pass; then it lists every row that
//! does not, and the kinds that it does not know.
//!
//! Exit status: 0 if every row of a known kind passes, 1 if one does not, 2 if a file has no rows to check.

mod check;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use check::{Row, check_of};

fn main() -> ExitCode {
    let files = match files() {
        Ok(Some(files)) => files,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("golden: {problem}");
            return ExitCode::from(2);
        }
    };
    let mut status = 0;
    for file in &files {
        let path = Path::new(file);
        status = status.max(match GoldenFile::read(path) {
            Ok(golden) => {
                println!("{}, by torch {}", path.display(), golden.torch);
                let tally = Tally::of(&golden.rows);
                tally.print();
                u8::from(!tally.misses.is_empty())
            }
            Err(problem) => {
                eprintln!("golden: {}: {problem}", path.display());
                2
            }
        });
    }
    ExitCode::from(status)
}

/// What a golden file says.
struct GoldenFile {
    torch: String,
    /// Each with its kind.
    rows: Vec<(String, Value)>,
}

impl GoldenFile {
    fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let file: Value = serde_json::from_slice(&text).map_err(|error| format!("not JSON: {error}"))?;
        let (Some(rows), torch) = (file.get("rows").and_then(Value::as_array), file.get("torch")) else {
            return Err("not a golden file: it has no \"rows\" with a list".into());
        };
        let torch = torch.and_then(Value::as_str).unwrap_or("of a version that it does not say").to_string();
        if rows.is_empty() {
            return Err("it has no rows".into());
        }
        let kinds = rows.iter().enumerate().map(|(i, row)| match row.get("kind") {
            Some(Value::String(kind)) => Ok((kind.clone(), row.clone())),
            _ => Err(format!("not a golden file: row {i} has no \"kind\"")),
        });
        Ok(GoldenFile { torch, rows: kinds.collect::<Result<_, _>>()? })
    }
}

/// How the rows of a file did.
struct Tally<'a> {
    /// Each kind, in the order in which they first come.
    kinds: Vec<Kind<'a>>,
    misses: Vec<String>,
}

struct Kind<'a> {
    name: &'a str,
    known: bool,
    rows: usize,
    passed: usize,
}

impl<'a> Tally<'a> {
    fn of(rows: &'a [(String, Value)]) -> Self {
        let mut tally = Tally { kinds: Vec::new(), misses: Vec::new() };
        for (name, row) in rows {
            let check = check_of(name);
            let at = tally.kinds.iter().position(|kind| kind.name == name).unwrap_or_else(|| {
                tally.kinds.push(Kind { name, known: check.is_some(), rows: 0, passed: 0 });
                tally.kinds.len() - 1
            });
            let kind = &mut tally.kinds[at];
            kind.rows += 1;
            let row = Row(row);
            match check.map(|check| check(&row)) {
                Some(Ok(())) => kind.passed += 1,
                Some(Err(why)) => tally.misses.push(format!("{name} {}: {why}", row.arguments())),
                None => {}
            }
        }
        tally
    }

    fn print(&self) {
        let known = || self.kinds.iter().filter(|kind| kind.known);
        let (rows, passed) = known().fold((0, 0), |(rows, passed), kind| (rows + kind.rows, passed + kind.passed));
        let width = self.kinds.iter().map(|kind| kind.name.len()).max().unwrap_or(0).max(3);
        let digits = rows.to_string().len();
        let line = |name, passed, rows| println!("  {name:width$}  {passed:>digits$} of {rows:>digits$}");
        known().for_each(|kind| line(kind.name, kind.passed, kind.rows));
        line("all", passed, rows);
        self.misses.iter().for_each(|miss| println!("  miss: {miss}"));
        for kind in self.kinds.iter().filter(|kind| !kind.known) {
            println!("  not checked, as this kind is not known here: {}, rows: {}", kind.name, kind.rows);
        }
    }
}

/// `None` after `--help`.
fn files() -> Result<Option<Vec<OsString>>, String> {
    use lexopt::prelude::*;

    let mut files = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Value(file) => files.push(file),
            Short('h') | Long("help") => {
                println!("{USAGE}");
                return Ok(None);
            }
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected())),
        }
    }
    if files.is_empty() { Err(USAGE.into()) } else { Ok(Some(files)) }
}

const USAGE: &str = "usage: golden FILE.json [FILE.json …]
Checks rows that torch drew: {\"torch\": VERSION, \"rows\": [{\"kind\": KIND, arguments, \"result\": RESULT}, …]}.
Exit status: 0 if all rows of known kinds pass, 1 if one does not, 2 if a file has no rows to check.";
