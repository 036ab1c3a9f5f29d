//! `Csv`: a row for each record, a column for each name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::{Record, Sink, Value};
use crate::error::{Error, ErrorKind, Result};

/// Writes records into a CSV file: `step`, `time` (seconds since 1970), and a column for each name in the order in
/// which they came up. Texts and alerts are on one line; pictures and histograms are left out.
///
/// The file is valid at any time. Rows are appended; where new names come up, the file is written anew beside its place
/// and moved there. A file that exists is continued: a line that was cut off with the process that wrote it is removed,
/// and rows are appended. A run that went back to a checkpoint repeats steps; [`purge_step`](Csv::purge_step) removes
/// what they were.
#[derive(Debug)]
pub struct Csv {
    path: PathBuf,
    file: File,
    columns: Vec<String>,
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
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let header = first_line(&mut file)?;
        let begins_like_one = FIRST.join(",").starts_with(&header) || header.starts_with(&FIRST.join(","));
        let columns = match header.strip_suffix('\n') {
            None if begins_like_one => FIRST.map(String::from).to_vec(), // cut off, or never written
            _ => cells(&header)?,
        };
        if columns.len() < FIRST.len() || columns[..FIRST.len()] != FIRST {
            let problem =
                "the file does not begin with the columns step and time, so it is not one of metrics: move it away";
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let end = end_of_last_line(&mut file)?;
        file.set_len(end)?;
        if end == 0 {
            file.write_all(line(&columns).as_bytes())?;
        }
        Ok(Csv { path: path.to_path_buf(), file, columns })
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

    /// What a record has for each column; for names that come up for the first time, a column is added.
    fn row(record: &Record, columns: &mut Vec<String>) -> Row {
        let mut column = |name: &str| {
            // A metric of the same name as one of the first columns gets one of its own.
            let known = columns.iter().skip(FIRST.len()).position(|column| column == name);
            known.map(|number| FIRST.len() + number).unwrap_or_else(|| {
                columns.push(name.to_owned());
                columns.len() - 1
            })
        };
        let time = record.time().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut cells = vec![(0, record.step().to_string()), (1, format!("{time:.3}"))];
        for (name, value) in record.metrics().iter() {
            match value {
                Value::Scalar(number) => cells.push((column(name), scalar(*number))),
                Value::Text(text) => cells.push((column(name), on_one_line(text))),
                Value::Histogram(_) | Value::Picture(_) => {}
            }
        }
        if let Some(alert) = record.alert() {
            cells.push((column(ALERT), on_one_line(alert)));
        }
        cells
    }

    /// Writes the file anew: the columns that there are now, and the rows that are kept.
    fn rewrite(&mut self, is_kept: impl Fn(&csv::StringRecord) -> bool) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_file_name(format!(".{name}.new"));
        let mut new = BufWriter::new(File::create(&beside)?);
        new.write_all(line(&self.columns).as_bytes())?;
        let mut old = csv::ReaderBuilder::new().flexible(true).from_path(&self.path)?;
        for row in old.records() {
            let row = row?;
            if is_kept(&row) {
                let mut cells: Vec<&str> = row.iter().collect();
                cells.resize(self.columns.len(), "");
                new.write_all(line(&cells).as_bytes())?;
            }
        }
        new.into_inner().map_err(|error| error.into_error())?;
        fs::rename(&beside, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(())
    }

    /// Appends rows, all or none of them.
    fn append(&mut self, rows: &[Row]) -> io::Result<()> {
        // Whole lines in each call, and no call of more than a page, which a signal could end half-way.
        const PAGE: usize = 4096;
        let end = self.file.metadata()?.len();
        let mut pages = vec![String::new()];
        for line in rows.iter().map(|row| self.line_of(row)) {
            match pages.last_mut() {
                Some(page) if page.is_empty() || page.len() + line.len() <= PAGE => page.push_str(&line),
                _ => pages.push(line),
            }
        }
        for page in pages {
            if let Err(error) = self.file.write_all(page.as_bytes()) {
                self.file.set_len(end)?;
                return Err(error);
            }
        }
        Ok(())
    }

    fn line_of(&self, row: &Row) -> String {
        let mut cells = vec![""; self.columns.len()];
        for (column, cell) in row {
            cells[*column] = cell;
        }
        line(&cells)
    }
}

impl Sink for Csv {
    fn name(&self) -> &str {
        "csv"
    }

    fn write(&mut self, records: &[Record]) -> Result<()> {
        let mut columns = self.columns.clone();
        let rows: Vec<Row> = records.iter().map(|record| Csv::row(record, &mut columns)).collect();
        let has_grown = columns.len() > self.columns.len();
        let before = std::mem::replace(&mut self.columns, columns);
        let write = |csv: &mut Csv| -> io::Result<()> {
            if has_grown {
                csv.rewrite(|_| true).inspect_err(|_| csv.columns = before)?;
            }
            csv.append(&rows)
        };
        write(self).map_err(|error| Error::from(error).with_path(&self.path))
    }
}

/// As short as it can be read back from.
fn scalar(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { number.to_string() } else { format!("{number:?}") }
}

/// So that a line of the file is a row.
fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Cells as a line of a file.
fn line(cells: &[impl AsRef<[u8]>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("a Vec takes everything");
    let line = writer.into_inner().expect("a Vec takes everything");
    String::from_utf8(line).expect("cells are text")
}

/// Where the last whole line ends.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// With its end, if it has one.
fn first_line(file: &mut File) -> io::Result<String> {
    let mut line = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn cells(line: &str) -> io::Result<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    let row = reader.records().next().transpose()?;
    Ok(row.unwrap_or_default().iter().map(String::from).collect())
}
