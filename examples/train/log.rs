//! `Log`: a row for each epoch, as CSV.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::fit::Error;

const HEADER: &str = "epoch,step,images_per_second,train_loss,val_accuracy,learning_rate,loss_scale,consumer_wait_share,\
                      seconds\n";

/// What there is to say of an epoch. Of one that was resumed, the speed, the share and the time are those of its rest.
pub struct Row {
    /// The first is 1.
    pub epoch: u32,
    /// Batches so far.
    pub step: u64,
    pub images_per_second: f64,
    pub train_loss: f64,
    pub val_accuracy: f64,
    /// That of the last batch.
    pub learning_rate: f64,
    pub loss_scale: f64,
    pub consumer_wait_share: f64,
    /// Training and validation.
    pub seconds: f64,
}

pub struct Log {
    file: File,
}

impl Log {
    /// Opens the log of a run that has done `epochs`: 0, if it is a new one.
    ///
    /// A run that goes on may have stood further when it ended than in its checkpoint. Rows of what comes again are
    /// removed.
    ///
    /// # Errors
    ///
    /// If a new run would be mixed with another that is in the file, or if the file is no log.
    pub fn open(path: &Path, epochs: u32, resumed: bool) -> Result<Self, Error> {
        let fail = |error: io::Error| format!("--log {}: {error}", path.display());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(fail)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fail)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        if text.is_empty() {
            file.write_all(HEADER.as_bytes()).map_err(fail)?;
            return Ok(Log { file });
        }
        // With the header alone it is that of a run that came to nothing.
        if !resumed && text != HEADER {
            let path = path.display();
            return Err(format!(
                "--log {path}: it has another run; --resume that one, name another file, or remove it"
            )
            .into());
        }
        let Some(rows) = text.strip_prefix(HEADER) else {
            return Err(format!("--log {}: not a log of this program", path.display()).into());
        };
        let epoch = |row: &str| row.split(',').next().and_then(|number| number.parse::<u32>().ok());
        // A row without an end was cut off when the run was.
        let is_had = |row: &&str| row.ends_with('\n') && epoch(row).is_some_and(|epoch| epoch <= epochs);
        let had = rows.split_inclusive('\n').take_while(is_had);
        let kept = HEADER.len() + had.map(str::len).sum::<usize>();
        file.set_len(kept as u64).map_err(fail)?;
        Ok(Log { file })
    }

    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        let Row { epoch, step, images_per_second, train_loss, val_accuracy, learning_rate, .. } = row;
        let Row { loss_scale, consumer_wait_share, seconds, .. } = row;
        // In one piece, so that there are no half rows.
        let row = format!(
            "{epoch},{step},{images_per_second:.1},{train_loss:.6},{val_accuracy:.4},{learning_rate:.6e},{loss_scale},\
             {consumer_wait_share:.4},{seconds:.2}\n"
        );
        self.file.write_all(row.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: u32) -> Row {
        Row {
            epoch,
            step: 30 * u64::from(epoch),
            images_per_second: 449.26,
            train_loss: 0.5,
            val_accuracy: 0.99,
            learning_rate: 0.00123,
            loss_scale: 65536.0,
            consumer_wait_share: 0.003,
            seconds: 1.5,
        }
    }

    #[test]
    fn one_header_and_a_row_for_each_epoch_however_often_the_run_was_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runs/log.csv");
        let mut log = Log::open(&path, 0, false).unwrap();
        (1..=3).for_each(|epoch| log.write(&row(epoch)).unwrap());
        drop(log);
        // The checkpoint is of epoch 2: epoch 3 comes again.
        let mut log = Log::open(&path, 2, true).unwrap();
        (3..=4).for_each(|epoch| log.write(&row(epoch)).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let epochs: Vec<&str> = text.lines().map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(epochs, ["epoch", "1", "2", "3", "4"]);
        assert_eq!(text.lines().nth(1), Some("1,30,449.3,0.500000,0.9900,1.230000e-3,65536,0.0030,1.50"));
        let columns = |line: &str| line.split(',').count();
        assert!(text.lines().all(|line| columns(line) == columns(HEADER)));
    }

    #[test]
    fn runs_are_not_mixed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.csv");
        Log::open(&path, 0, false).unwrap(); // stopped in its first epoch
        Log::open(&path, 0, false).unwrap().write(&row(1)).unwrap();
        Log::open(&path, 1, true).unwrap();
        let error = Log::open(&path, 0, false).err().unwrap().to_string();
        assert!(error.contains("has another run"), "{error}");
        fs::write(&path, "a letter\n").unwrap();
        let error = Log::open(&path, 1, true).err().unwrap().to_string();
        assert!(error.contains("not a log"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a letter\n");
    }
}
