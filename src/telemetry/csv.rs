//! `Csv`: a row for each record, a column for each name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::append::Appended;
use super::{Record, Sink, Value, on_one_line};
use crate::error::{Error, ErrorKind, Result};

/// Writes records into a CSV file: `step`, `time` (seconds since 1970), and a column for each name in the order in
/// which they came up. Texts, names and alerts are on one line, alerts in the column `alert`; pictures and histograms
/// are left out. A metric called `step` or `time` stands under `metric/step` or `metric/time`.
///
/// Each process needs a file of its own: one that finds that another writes to its file fails.
///
/// The file can be read at any time: every line that ends is a row, and only the last can be one without an end, while
/// it is written or where a process was killed at it. Rows are appended. Where new names come up, the file is written
/// anew beside its place and moved there, so whoever follows it has to follow the name (`tail -F`).
///
/// A file that exists is continued. A run that went back to a checkpoint repeats steps;
/// [`purge_step`](Csv::purge_step) removes what they were.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    file: Appended,
    columns: Columns,
}

/// What the columns are called, and which number a name has.
#[derive(Debug)]
struct Columns {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
}

/// The cells of a record, each with its column.
type Row = Vec<(usize, String)>;

/// The columns that every file has.
const FIRST: [&str; 2] = ["step", "time"];
/// The column of what a person should hear of.
const ALERT: &str = "alert";

impl Csv {
    /// Creates a file, or goes on with one. Directories above it are made.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or is not a file of metrics.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_path_buf());
        Self::open_at(&path).map_err(|error| error.with_path(&path))
    }

    fn open_at(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = Appended::open(path)?;
        // What a link leads to: a new file is put in its place, and not in that of the link.
        let path = fs::canonicalize(path)?;
        let names = columns(&first_line(&path)?).ok_or_else(|| {
            let problem =
                "the file does not begin with the columns step and time, so it is not one of metrics: move it away";
            Error::new(ErrorKind::Config, problem)
        })?;
        if file.cut_to_lines()? == 0 {
            file.append(&lines([&names]))?;
        }
        Ok(Csv { path, file, columns: Columns::new(names) })
    }

    /// Removes the rows of this step and of later ones, as for a run that goes on with it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn purge_step(mut self, step: u64) -> Result<Self> {
        let is_before =
            |row: &csv::StringRecord| row.get(0).and_then(|cell| cell.parse().ok()).is_none_or(|of: u64| of < step);
        match self.rewrite(is_before) {
            Ok(()) => Ok(self),
            Err(error) => Err(Error::from(error).with_path(self.path)),
        }
    }

    /// Writes the file anew: the columns that there are now, and the rows that are kept.
    fn rewrite(&mut self, is_kept: impl Fn(&csv::StringRecord) -> bool) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_file_name(format!(".{name}.new"));
        let put = || {
            self.copy_to(&beside, is_kept)?;
            fs::rename(&beside, &self.path)
        };
        put().inspect_err(|_| drop(fs::remove_file(&beside)))?;
        self.file = Appended::open(&self.path)?;
        Ok(())
    }

    fn copy_to(&self, beside: &Path, is_kept: impl Fn(&csv::StringRecord) -> bool) -> io::Result<()> {
        let file = File::create(beside)?;
        file.set_permissions(fs::metadata(&self.path)?.permissions())?;
        let mut new = csv::Writer::from_writer(BufWriter::new(&file));
        new.write_record(&self.columns.names)?;
        for row in csv::ReaderBuilder::new().flexible(true).from_path(&self.path)?.records() {
            let row = row?;
            if is_kept(&row) {
                let missing = self.columns.names.len().saturating_sub(row.len());
                new.write_record(row.iter().chain(std::iter::repeat_n("", missing)))?;
            }
        }
        new.flush()?;
        drop(new);
        // On the disk before it takes the place of what is there.
        file.sync_data()
    }
}

impl Sink for Csv {
    fn name(&self) -> &str {
        "csv"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        let before = self.columns.names.len();
        let rows: Vec<Row> = records.iter().filter_map(|record| row(record, &mut self.columns)).collect();
        let width = self.columns.names.len();
        let write = |csv: &mut Csv| -> io::Result<()> {
            if width > before {
                let rewritten = csv.file.check().and_then(|()| csv.rewrite(|_| true));
                rewritten.inspect_err(|_| csv.columns.truncate(before))?;
            }
            csv.file.append(&lines(rows.into_iter().map(|row| cells(row, width))))
        };
        write(self).map_err(|error| Error::from(error).with_path(&self.path))
    }
}

impl Columns {
    fn new(names: Vec<String>) -> Self {
        // From the back, so that of two of the same name the first counts.
        let numbers = names.iter().cloned().enumerate().rev().map(|(number, name)| (name, number)).collect();
        Columns { names, numbers }
    }

    /// That of a metric; for a name that comes up for the first time, a column is added.
    fn of(&mut self, metric: &str) -> usize {
        let name = on_one_line(metric);
        let name = if FIRST.contains(&&*name) { format!("metric/{name}").into() } else { name };
        if let Some(number) = self.numbers.get(&*name) {
            return *number;
        }
        self.numbers.insert(name.clone().into_owned(), self.names.len());
        self.names.push(name.into_owned());
        self.names.len() - 1
    }

    /// Forgets those that were added last.
    fn truncate(&mut self, len: usize) {
        for name in self.names.drain(len..) {
            self.numbers.remove(&name);
        }
    }
}

/// What a record has for each column; `None` if that is nothing.
fn row(record: &Record, columns: &mut Columns) -> Option<Row> {
    let time = record.time().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut row = vec![(0, record.step().to_string()), (1, format!("{time:.3}"))];
    for (name, value) in record.metrics().iter() {
        match value {
            Value::Scalar(number) => row.push((columns.of(name), scalar(*number))),
            Value::Text(text) => row.push((columns.of(name), on_one_line(text).into_owned())),
            Value::Histogram(_) | Value::Picture(_) => {}
        }
    }
    if let Some(alert) = record.alert() {
        row.push((columns.of(ALERT), on_one_line(alert).into_owned()));
    }
    (row.len() > FIRST.len()).then_some(row)
}

fn cells(row: Row, width: usize) -> Vec<String> {
    let mut cells = vec![String::new(); width];
    for (column, cell) in row {
        cells[column] = cell;
    }
    cells
}

/// As short as it can be read back from.
fn scalar(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { number.to_string() } else { format!("{number:?}") }
}

fn lines(rows: impl IntoIterator<Item: AsRef<[String]>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.as_ref()).expect("a Vec takes everything");
    }
    writer.into_inner().expect("a Vec takes everything")
}

/// With its end, if it has one.
fn first_line(path: &Path) -> io::Result<String> {
    // Whatever has a longer one is something else.
    const LONGEST: u64 = 16 << 20;
    let mut line = Vec::new();
    BufReader::new(File::open(path)?).take(LONGEST).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The columns of a file with this first line; `None` if it is none of metrics.
fn columns(first_line: &str) -> Option<Vec<String>> {
    let first = FIRST.join(",");
    let was_cut_off =
        !first_line.ends_with('\n') && (first.starts_with(first_line) || first_line.starts_with(&format!("{first},")));
    if was_cut_off {
        return Some(FIRST.map(String::from).to_vec());
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(first_line.as_bytes());
    let columns: Vec<String> = reader.records().next()?.ok()?.iter().map(String::from).collect();
    columns.starts_with(&FIRST.map(String::from)).then_some(columns)
}
