//! The command line.

use std::path::PathBuf;

use sutler::image::{DecodeOptions, JpegDecoder};

use super::Error;

const USAGE: &str = "usage: throughput DIR [--workers N] [--batch-size 64] [--size 224] [--epochs 3] [--dtype f32|u8]
                  [--decoder turbojpeg|zune-jpeg] [--scaled] [--augment standard|randaugment]
                  [--single-threaded | --limit] [--json] [--chart FILE.svg]
DIR has a directory of images for each class.";

pub(super) struct Settings {
    pub(super) directory: PathBuf,
    pub(super) mode: Mode,
    pub(super) workers: usize,
    pub(super) batch_size: usize,
    pub(super) size: usize,
    pub(super) epochs: usize,
    pub(super) u8: bool,
    pub(super) decoder: JpegDecoder,
    pub(super) scaled: bool,
    pub(super) randaugment: bool,
    pub(super) json: bool,
    pub(super) chart: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Loader,
    SingleThreaded,
    Limit,
}

impl Settings {
    /// `None` after `--help`.
    pub(super) fn from_args() -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let mut settings = Settings {
            directory: PathBuf::new(),
            mode: Mode::Loader,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            batch_size: 64,
            size: 224,
            epochs: 3,
            u8: false,
            decoder: JpegDecoder::default(),
            scaled: false,
            randaugment: false,
            json: false,
            chart: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Value(directory) if settings.directory.as_os_str().is_empty() => settings.directory = directory.into(),
                Long("workers") => settings.workers = at_least_one("--workers", parser.value()?.parse()?)?,
                Long("batch-size") => settings.batch_size = at_least_one("--batch-size", parser.value()?.parse()?)?,
                Long("size") => settings.size = at_least_one("--size", parser.value()?.parse()?)?,
                Long("epochs") => settings.epochs = at_least_one("--epochs", parser.value()?.parse()?)?,
                Long("dtype") => {
                    settings.u8 = match parser.value()?.string()?.as_str() {
                        "u8" => true,
                        "f32" => false,
                        other => return Err(format!("--dtype is f32 or u8, not {other}").into()),
                    }
                }
                Long("decoder") => settings.decoder = decoder(&parser.value()?.string()?)?,
                Long("scaled") => settings.scaled = true,
                Long("augment") => {
                    settings.randaugment = match parser.value()?.string()?.as_str() {
                        "standard" => false,
                        "randaugment" => true,
                        other => return Err(format!("--augment is standard or randaugment, not {other}").into()),
                    }
                }
                Long(mode @ ("single-threaded" | "limit")) => {
                    if settings.mode != Mode::Loader {
                        return Err("--single-threaded and --limit exclude each other".into());
                    }
                    settings.mode = if mode == "limit" { Mode::Limit } else { Mode::SingleThreaded };
                }
                Long("json") => settings.json = true,
                Long("chart") => settings.chart = Some(parser.value()?.into()),
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
            }
        }
        if settings.directory.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        if settings.scaled && settings.decoder == JpegDecoder::ZuneJpeg {
            return Err("--scaled needs --decoder turbojpeg: zune-jpeg cannot".into());
        }
        if settings.chart.is_some() && settings.mode == Mode::Limit {
            return Err("--chart shows the loader's stages, and --limit has no loader".into());
        }
        Ok(Some(settings))
    }

    pub(super) fn decode_options(&self) -> DecodeOptions {
        DecodeOptions::default().jpeg_decoder(self.decoder).scaled_decode(self.scaled)
    }

    pub(super) fn mode_name(&self) -> &'static str {
        match self.mode {
            Mode::Loader => "loader",
            Mode::SingleThreaded => "single-threaded",
            Mode::Limit => "limit",
        }
    }

    pub(super) fn decoder_name(&self) -> &'static str {
        match self.decoder {
            JpegDecoder::ZuneJpeg => "zune-jpeg",
            _ => "turbojpeg",
        }
    }
}

fn decoder(name: &str) -> Result<JpegDecoder, Error> {
    match name {
        "zune-jpeg" => Ok(JpegDecoder::ZuneJpeg),
        #[cfg(feature = "turbojpeg")]
        "turbojpeg" => Ok(JpegDecoder::TurboJpeg),
        #[cfg(not(feature = "turbojpeg"))]
        "turbojpeg" => Err("--decoder turbojpeg needs a build with `--features turbojpeg`".into()),
        other => Err(format!("--decoder is turbojpeg or zune-jpeg, not {other}").into()),
    }
}

fn at_least_one(name: &str, number: usize) -> Result<usize, Error> {
    if number == 0 { Err(format!("{name} must be at least 1").into()) } else { Ok(number) }
}
