//! `Directory`: jobs as files. No server is needed.
//!
//! ```text
//! lock            is held by the one process that works here
//! accepted/ID     an image, from its acceptance until its job has ended
//! starts/ID       a line for each time that the job was begun, and one with a minus for each that was taken back
//! results/ID      how the job ended, as JSON
//! partial/        files that are being written
//! ```
//!
//! A file of `accepted` or `results` has that name only once it is whole and on the disk. An image is removed after its
//! result is there; that a job has both is the end of a process between the two.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Begun, Error, Store, Unfinished, parse};
use crate::job::{JobId, Outcome, Status};
use crate::say::complain;

pub struct Directory {
    root: PathBuf,
    /// How long outcomes are kept.
    keep: Duration,
    /// Bytes of the disk that are left free of new images.
    reserve: u64,
    _lock: File,
}

/// Enough to begin and to end all that was accepted.
const RESERVE: u64 = 64 << 20;

const ACCEPTED: &str = "accepted";
const STARTS: &str = "starts";
const RESULTS: &str = "results";
const PARTIAL: &str = "partial";

impl Directory {
    /// # Errors
    ///
    /// If the directory cannot be made, or another process works in it.
    pub fn open(root: &Path, keep: Duration) -> Result<Self, Error> {
        let open = || -> Result<Self, Error> {
            let root = std::path::absolute(root)?;
            for name in ["", ACCEPTED, STARTS, RESULTS, PARTIAL] {
                make(&root.join(name))?;
            }
            // Their names, too, are to be there after a power failure.
            [Some(root.as_path()), root.parent()].into_iter().flatten().try_for_each(sync)?;
            let lock = lock(&root.join("lock"))?;
            // What a process that is gone had not finished writing. It was not accepted.
            for entry in fs::read_dir(root.join(PARTIAL))? {
                fs::remove_file(entry?.path())?;
            }
            let directory = Directory { root, keep, reserve: RESERVE, _lock: lock };
            directory.forget_images()?;
            Ok(directory)
        };
        open().map_err(|error| format!("--store {}: {error}", root.display()).into())
    }

    #[cfg(test)]
    pub fn reserve(self, bytes: u64) -> Self {
        Directory { reserve: bytes, ..self }
    }

    fn path(&self, folder: &str, id: JobId) -> PathBuf {
        self.root.join(folder).join(id.to_string())
    }

    /// Writes a file to the disk, and then gives it its name.
    fn write(&self, folder: &str, id: JobId, content: &[u8]) -> io::Result<()> {
        let partial = self.path(PARTIAL, id);
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&partial, self.path(folder, id))
        };
        write().inspect_err(|_| drop(remove(&partial))) // where the disk is full, it would stay so
    }

    fn begin_one(&self, id: JobId, start: u128) -> Result<Begun, Error> {
        if self.path(RESULTS, id).exists() {
            sync(&self.root.join(RESULTS))?; // an image goes after its result is on the disk
            self.forget_image(id)?;
            return Ok(Begun::Ended);
        }
        let image = match fs::read(self.path(ACCEPTED, id)) {
            Ok(image) => image,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Begun::Ended),
            Err(error) if is_lasting(&error) => {
                complain(format_args!("cannot read the image of job {} back: {error}", id.short()));
                return Ok(Begun::Lost);
            }
            Err(error) => return Err(error.into()),
        };
        let path = self.path(STARTS, id);
        let mut starts = starts(&path)?;
        if starts.insert(format!("{start:032x}").into_bytes()) {
            // Not synced: it is to survive this process, and a power failure is no fault of the image.
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{start:032x}\n").as_bytes())?;
        }
        Ok(Begun::Image { image, starts: starts.len() as u32 })
    }

    /// Of all jobs that have ended. Not while they end: the result of one may have its name and not be on the disk.
    fn forget_images(&self) -> io::Result<()> {
        sync(&self.root.join(RESULTS))?;
        let ids = self.ids(ACCEPTED)?.into_iter();
        ids.filter(|id| self.path(RESULTS, *id).exists()).try_for_each(|id| self.forget_image(id))
    }

    /// Of a job that has ended. The image is the last to go: without it the job is not looked at again.
    fn forget_image(&self, id: JobId) -> io::Result<()> {
        remove(&self.path(STARTS, id))?;
        remove(&self.path(ACCEPTED, id))
    }

    fn outcome(&self, id: JobId) -> Result<Option<Outcome>, Error> {
        let path = self.path(RESULTS, id);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // It may be old already, and not yet removed.
        if age(&path)?.is_none_or(|age| age >= self.keep) {
            return Ok(None);
        }
        Ok(Some(parse(&text)))
    }

    /// Those of the files in a folder that jobs have, by id.
    fn ids(&self, folder: &str) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        Ok(ids)
    }
}

impl Store for Directory {
    fn accept(&self, id: JobId, image: &[u8]) -> Result<(), Error> {
        if free(&self.root)?.is_some_and(|free| free < self.reserve.saturating_add(image.len() as u64)) {
            let root = self.root.display();
            return Err(format!("{root}: the disk is almost full; the rest is for the jobs that were accepted").into());
        }
        self.write(ACCEPTED, id, image)?;
        sync(&self.root.join(ACCEPTED))?;
        Ok(())
    }

    fn begin(&self, ids: &[JobId], start: u128) -> Result<Vec<Begun>, Error> {
        ids.iter().map(|&id| self.begin_one(id, start)).collect()
    }

    fn take_back(&self, starts: &[(JobId, u128)]) -> Result<(), Error> {
        for (id, start) in starts {
            match OpenOptions::new().append(true).open(self.path(STARTS, *id)) {
                Ok(mut file) => file.write_all(format!("-{start:032x}\n").as_bytes())?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // it has ended
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn finish(&self, outcomes: &[(JobId, Outcome)]) -> Result<(), Error> {
        for (id, outcome) in outcomes {
            if !self.path(RESULTS, *id).exists() {
                self.write(RESULTS, *id, &serde_json::to_vec(outcome)?)?;
            }
        }
        // Once for all of a batch.
        sync(&self.root.join(RESULTS))?;
        outcomes.iter().try_for_each(|(id, _)| self.forget_image(*id))?;
        Ok(())
    }

    fn status(&self, id: JobId) -> Result<Option<Status>, Error> {
        let ended = || Ok::<_, Error>(self.outcome(id)?.map(Status::Ended));
        if let Some(status) = ended()? {
            return Ok(Some(status));
        }
        if self.path(ACCEPTED, id).exists() {
            return Ok(Some(Status::Queued));
        }
        // It may have ended between the two.
        ended()
    }

    fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        let mut jobs = Vec::new();
        for id in self.ids(ACCEPTED)? {
            if self.path(RESULTS, id).exists() {
                continue; // it is just ending
            }
            match fs::metadata(self.path(ACCEPTED, id)).and_then(|metadata| metadata.modified()) {
                Ok(accepted) => jobs.push((accepted, id)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // it ended meanwhile
                Err(error) => return Err(error.into()),
            }
        }
        jobs.sort_by_key(|(accepted, _)| *accepted);
        let job = |(_, id)| Ok(Unfinished { id, starts: starts(&self.path(STARTS, id))?.len() as u32 });
        jobs.into_iter().map(job).collect()
    }

    fn expire(&self) -> Result<(), Error> {
        for id in self.ids(RESULTS)? {
            let path = self.path(RESULTS, id);
            if age(&path)?.is_some_and(|age| age >= self.keep) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Makes a directory that nobody else may look into.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes to the disk which names there are in a folder.
fn sync(folder: &Path) -> io::Result<()> {
    // Only unix opens folders as files; elsewhere names are left to the system.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The bytes that are free on a disk, for this user.
#[cfg(unix)]
fn free(path: &Path) -> io::Result<Option<u64>> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
}

/// Not asked for elsewhere.
#[cfg(not(unix))]
fn free(_: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// The file that a process holds locked as long as it works here. The system lets go of it, however the process ends.
fn lock(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    #[cfg(unix)]
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| format!("another process works there ({error})"))?;
    Ok(file)
}

/// Whether what could not be read will not be read later either. Other errors, of too many open files say, pass.
fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, PermissionDenied};
    let is_damage = cfg!(unix) && error.raw_os_error() == Some(5); // EIO, which has no kind
    is_damage || matches!(error.kind(), InvalidData | IsADirectory | PermissionDenied)
}

/// The starts that a file of `starts` has. After a power failure they may be anything.
fn starts(path: &Path) -> io::Result<BTreeSet<Vec<u8>>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes?,
    };
    let mut starts = BTreeSet::new();
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match line.strip_prefix(b"-") {
            Some(start) => drop(starts.remove(start)),
            None => drop(starts.insert(line.to_vec())),
        }
    }
    Ok(starts)
}

/// How old a file is: nothing if it is gone, and no time if the clock was set back.
fn age(path: &Path) -> io::Result<Option<Duration>> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => Ok(Some(modified.elapsed().unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
