//! Values that are written as text: a state, a ledger.

use std::str::FromStr;

use sutler::{Error, ErrorKind, Ledger, LoaderState};

use super::{measured, of_kind, refused};

/// The value of a text, if it has one: what is written of it gives the value back.
fn parsed<T>(bytes: &[u8]) -> Option<T>
where
    T: FromStr<Err = Error> + ToString + PartialEq + std::fmt::Debug,
{
    let text = std::str::from_utf8(bytes).ok()?;
    let (value, asked) = measured(|| text.parse::<T>());
    // A bad sample takes 72 bytes for four of the text, and the list that it is collected into up to twice that, twice.
    assert!(asked <= 72 * text.len() + 4096, "{asked} bytes for a text of {}", text.len());
    match value {
        Ok(value) => {
            let written = value.to_string();
            assert_eq!(written.parse::<T>().as_ref().ok(), Some(&value), "{written:?}");
            Some(value)
        }
        Err(error) => {
            of_kind(&error, &[ErrorKind::State]);
            None
        }
    }
}

pub fn state(bytes: &[u8]) {
    parsed::<LoaderState>(bytes);
}

/// A ledger is a value: adding to it and comparing it with any length is defined.
pub fn ledger(bytes: &[u8]) {
    let Some(ledger) = parsed::<Ledger>(bytes) else { return };
    let mut twice = ledger;
    twice += ledger;
    twice.record(usize::MAX);
    assert!(twice.count() >= ledger.count());
    let whole: Ledger = (0..5).collect();
    assert_eq!(ledger.verify(5).is_ok(), ledger == whole);
    refused(&twice.verify(usize::MAX - 1).unwrap_err(), &[ErrorKind::State]);
}
