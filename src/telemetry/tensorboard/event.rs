//! `Event`: what TensorBoard reads (`tensorboard/compat/proto/{event,summary,tensor}.proto`, whose numbers these are).

use std::time::{SystemTime, UNIX_EPOCH};

use super::message::Message;
use crate::telemetry::histogram::Summary;
use crate::telemetry::{Picture, Record, Value};

/// The first event of a file.
pub(super) fn version(time: SystemTime) -> Vec<u8> {
    begun(time).bytes(3, "brain.Event:2").into_bytes()
}

/// The first event of a run that goes on with `step`: what there is of it and of later ones is void.
pub(super) fn start(time: SystemTime, step: u64) -> Vec<u8> {
    const START: u64 = 1;
    begun(time).int(2, self::step(step)).message(7, Message::default().int(1, START)).into_bytes()
}

/// A record; `None` if there is nothing in it.
pub(super) fn of(record: &Record) -> Option<Vec<u8>> {
    let values = record.metrics().iter().filter_map(|(name, value)| named(name, value));
    let alert = record.alert().into_iter().map(|alert| text("alert", alert));
    let mut values = values.chain(alert).peekable();
    values.peek()?;
    let summary = values.fold(Message::default(), |summary, value| summary.message(1, value));
    Some(begun(record.time()).int(2, step(record.step())).message(5, summary).into_bytes())
}

/// TensorBoard's have a sign.
fn step(step: u64) -> u64 {
    step.min(i64::MAX as u64)
}

fn begun(time: SystemTime) -> Message {
    Message::default().double(1, time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// A `Summary.Value`, if there is one to be seen.
fn named(name: &str, value: &Value) -> Option<Message> {
    let tagged = Message::default().bytes(1, name);
    Some(match value {
        Value::Scalar(number) => tagged.float(2, *number as f32),
        Value::Text(content) => text(name, content),
        Value::Histogram(histogram) => tagged.message(5, histo(&histogram.summary()?)),
        Value::Picture(picture) => tagged.message(4, image(picture)),
    })
}

/// A tensor of one string, for the plugin that shows texts.
fn text(name: &str, content: &str) -> Message {
    const STRING: u64 = 7;
    let one = Message::default().message(2, Message::default().int(1, 1));
    let tensor = Message::default().int(1, STRING).message(2, one).bytes(8, content);
    let plugin = Message::default().message(1, Message::default().bytes(1, "text"));
    Message::default().bytes(1, name).message(8, tensor).message(9, plugin)
}

fn histo(Summary { min, max, count, sum, sum_of_squares, buckets }: &Summary) -> Message {
    let numbers = [min, max, count, sum, sum_of_squares];
    let fields = (1..).zip(numbers);
    fields
        .fold(Message::default(), |message, (field, number)| message.double(field, *number))
        .doubles(6, buckets.iter().map(|(limit, _)| *limit))
        .doubles(7, buckets.iter().map(|(_, count)| *count))
}

fn image(picture: &Picture) -> Message {
    let [height, width, channels] = [picture.height(), picture.width(), picture.channels()].map(u64::from);
    Message::default().int(1, height).int(2, width).int(3, channels).bytes(4, picture.png())
}
