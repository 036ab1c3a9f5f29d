//! `Metrics`: named values.

use std::borrow::Cow;

use super::{Histogram, Picture};
use crate::stats::Stats;

/// Named values of one step. A name may have parts, by which TensorBoard groups: `train/loss`.
///
/// Made of pairs, `[("loss", loss), ("lr", 1e-3)]`, or of a loader's [`Stats`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<(Cow<'static, str>, Value)>);

/// Something that can be logged.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A text; TensorBoard shows it as Markdown.
    Text(Cow<'static, str>),
    /// How values are distributed.
    Histogram(Histogram),
    /// A picture.
    Picture(Picture),
}

impl Metrics {
    /// Adds a value.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// Adds the values of others.
    pub fn extend(&mut self, others: impl Into<Metrics>) {
        self.0.extend(others.into().0);
    }

    /// The names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The numbers among them.
    pub fn scalars(&self) -> impl Iterator<Item = (&str, f64)> {
        self.iter().filter_map(|(name, value)| match value {
            Value::Scalar(value) => Some((name, *value)),
            _ => None,
        })
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>> FromIterator<(N, V)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(metrics: I) -> Self {
        Metrics(metrics.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>, const LEN: usize> From<[(N, V); LEN]> for Metrics {
    fn from(metrics: [(N, V); LEN]) -> Self {
        metrics.into_iter().collect()
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>> From<(N, V)> for Metrics {
    fn from(metric: (N, V)) -> Self {
        [metric].into()
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>> From<Vec<(N, V)>> for Metrics {
    fn from(metrics: Vec<(N, V)>) -> Self {
        metrics.into_iter().collect()
    }
}

/// What a loader did: `loader/samples_per_second` (loaded, for whoever waits or ahead of time), `loader/wait_share` (of
/// the time, spent waiting for a batch), `loader/ready` and `loader/ahead` (how many batches were ready, and ready or
/// in the making, when one was asked for), `loader/errors` and `loader/bad_samples`. Of a part of a run with
/// [`Stats::since`].
impl From<&Stats> for Metrics {
    fn from(stats: &Stats) -> Self {
        let per = |a: f64, of: f64| if of > 0.0 { a / of } else { 0.0 };
        let calls = (stats.batches + stats.errors) as f64;
        Metrics::from([
            ("loader/samples_per_second", per(stats.samples as f64, stats.epoch_time.as_secs_f64())),
            ("loader/wait_share", stats.consumer_wait_share()),
            ("loader/ready", per(stats.queue_ready as f64, calls)),
            ("loader/ahead", per(stats.queue_ahead as f64, calls)),
            ("loader/errors", stats.errors as f64),
            ("loader/bad_samples", stats.bad_samples as f64),
        ])
    }
}

impl From<Stats> for Metrics {
    fn from(stats: Stats) -> Self {
        Metrics::from(&stats)
    }
}

macro_rules! scalars {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Value::Scalar(number as f64)
            }
        }
    )*};
}

scalars!(f64, f32, u64, u32, u16, u8, usize, i64, i32, i16, i8, isize);

/// 1 for true.
impl From<bool> for Value {
    fn from(is_true: bool) -> Self {
        Value::Scalar(is_true.into())
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text.into())
    }
}

impl From<Histogram> for Value {
    fn from(histogram: Histogram) -> Self {
        Value::Histogram(histogram)
    }
}

impl From<Picture> for Value {
    fn from(picture: Picture) -> Self {
        Value::Picture(picture)
    }
}
