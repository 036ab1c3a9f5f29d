//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::load::Load;
use crate::service::Settings;
use crate::store::Error;

pub const USAGE: &str = "\
usage: serve [--listen 127.0.0.1:8080] [--store DIR | --redis URL] [--model FILE | --checkpoint DIR] [OPTIONS]
       serve --load [--clients 32] [--requests 50]
  --listen ADDRESS      where to listen; with port 0, at any port that is free
  --host NAME           take requests for this name, addresses and localhost alone; it may be given several times.
                        Where --listen is for other machines, and there is none, any name is taken
  --store DIR           keep jobs there; target/serve, unless said
  --redis URL           keep jobs in Redis: redis://127.0.0.1:6379
  --model FILE          a TorchScript file that takes [N, 3, S, S] and gives [N, CLASSES]  (feature `tch`)
  --checkpoint DIR      what `make train ARGS='--checkpoint DIR'` left                     (feature `tch`)
  --labels PATH         a file with a line for each class, or the directory of the training images; without, classes are
                        called by their numbers
  --size 64             the S of the model
  --workers 2           threads that decode and ask the model
  --max-batch 16        images that the model is given at a time
  --max-wait 5          milliseconds that the first of a batch waits for others
  --queue 256           jobs that may wait; more are answered 503
  --max-body 16         MiB that a body may have
  --max-pixels 50000000 pixels that an image may have
  --keep 3600           seconds that a result is kept
  --grace 5             seconds that jobs may take to end at a stop, which takes up to 4 more
  --load                measure instead, with clients of its own on this machine";

pub enum Command {
    Help,
    Load(Load),
    Serve(Box<Arguments>),
}

#[cfg_attr(not(feature = "tch"), allow(dead_code, reason = "only torch has models in files"))]
pub struct Arguments {
    pub settings: Settings,
    pub place: Place,
    pub model: Option<ModelFile>,
    pub labels: Option<PathBuf>,
    pub keep: Duration,
}

/// Where jobs are kept.
pub enum Place {
    Directory(PathBuf),
    Redis(String),
}

#[cfg_attr(not(feature = "tch"), allow(dead_code, reason = "only torch has models in files"))]
pub enum ModelFile {
    TorchScript(PathBuf),
    Checkpoint(PathBuf),
}

impl Command {
    pub fn from_args() -> Result<Self, Error> {
        use lexopt::prelude::*;

        let mut settings = Settings::default();
        let (mut store, mut redis, mut model, mut checkpoint, mut labels) = (None, None, None, None, None);
        let (mut is_load, mut load) = (false, Load { clients: 32, requests: 50, service: None });
        let mut keep = Duration::from_secs(3600);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("listen") => settings.listen = parser.value()?.parse()?,
                Long("host") => settings.hosts.push(parser.value()?.string()?),
                Long("store") => store = Some(PathBuf::from(parser.value()?)),
                Long("redis") => redis = Some(parser.value()?.string()?),
                Long("model") => model = Some(PathBuf::from(parser.value()?)),
                Long("checkpoint") => checkpoint = Some(PathBuf::from(parser.value()?)),
                Long("labels") => labels = Some(PathBuf::from(parser.value()?)),
                Long("size") => settings.size = at_least(16, "--size", parser.value()?.parse()?)?,
                Long("workers") => settings.workers = at_least(1, "--workers", parser.value()?.parse()?)?,
                Long("max-batch") => settings.max_batch = at_least(1, "--max-batch", parser.value()?.parse()?)?,
                Long("max-wait") => settings.max_wait = Duration::from_millis(parser.value()?.parse()?),
                Long("queue") => settings.queue = at_least(1, "--queue", parser.value()?.parse()?)?,
                Long("max-body") => settings.max_body = at_least(1, "--max-body", parser.value()?.parse()?)? << 20,
                Long("max-pixels") => settings.max_pixels = at_least(1, "--max-pixels", parser.value()?.parse()?)?,
                Long("keep") => keep = Duration::from_secs(at_least(1, "--keep", parser.value()?.parse()?)? as u64),
                Long("grace") => settings.grace = Duration::from_secs(parser.value()?.parse()?),
                Long("load") => is_load = true,
                Long("clients") => load.clients = at_least(1, "--clients", parser.value()?.parse()?)?,
                Long("load-from") => load.service = Some(parser.value()?.parse()?), // what --load calls itself with
                Long("requests") => load.requests = at_least(1, "--requests", parser.value()?.parse()?)?,
                Short('h') | Long("help") => return Ok(Command::Help),
                _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
            }
        }
        if is_load || load.service.is_some() {
            return Ok(Command::Load(load));
        }
        let place = match (store, redis) {
            (Some(_), Some(_)) => return Err("--store and --redis exclude each other".into()),
            (None, Some(url)) => Place::Redis(url),
            (directory, None) => Place::Directory(directory.unwrap_or_else(|| "target/serve".into())),
        };
        let model = match (model, checkpoint) {
            (Some(_), Some(_)) => return Err("--model and --checkpoint exclude each other".into()),
            (Some(file), None) => Some(ModelFile::TorchScript(file)),
            (None, directory) => directory.map(ModelFile::Checkpoint),
        };
        Ok(Command::Serve(Box::new(Arguments { settings, place, model, labels, keep })))
    }
}

fn at_least(least: usize, name: &str, number: usize) -> Result<usize, Error> {
    if number < least { Err(format!("{name} must be at least {least}").into()) } else { Ok(number) }
}
