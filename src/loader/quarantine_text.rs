//! A [`Quarantine`] as one word of text: `17:/data/a%20b.jpg:the%20file%20is%20empty,3/41::gone`.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::path::PathBuf;

use crate::quarantine::{Quarantine, Quarantined};

pub(super) struct QuarantineText<'a>(pub(super) &'a Quarantine);

impl fmt::Display for QuarantineText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Quarantined { index, shard, path, cause }) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "," })?;
            if let Some(shard) = shard {
                write!(f, "{shard}/")?;
            }
            write!(f, "{index}:")?;
            escape(path.as_ref().map_or(&[], |path| path.as_os_str().as_encoded_bytes()), f)?;
            f.write_char(':')?;
            escape(cause.as_bytes(), f)?;
        }
        Ok(())
    }
}

/// `None` if it is no such word.
pub(super) fn parse(text: &str) -> Option<Quarantine> {
    text.split(',').map(parse_sample).collect()
}

fn parse_sample(text: &str) -> Option<Quarantined> {
    let mut parts = text.split(':');
    let (name, path, cause) = (parts.next()?, unescape(parts.next()?)?, unescape(parts.next()?)?);
    let (shard, index) = match name.split_once('/') {
        Some((shard, index)) => (Some(shard.parse().ok()?), index),
        None => (None, name),
    };
    let path = if path.is_empty() { None } else { Some(PathBuf::from(os_string(path)?)) };
    let sample = Quarantined { index: index.parse().ok()?, shard, path, cause: String::from_utf8(cause).ok()? };
    parts.next().is_none().then_some(sample)
}

/// Everything but letters, digits and `-./_` as `%2F`: so no separator, space or line end is left.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|&byte| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'/' | b'_' => f.write_char(byte as char),
        _ => write!(f, "%{byte:02X}"),
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gives_the_quarantine_back() {
        let sample = |index, shard, path: Option<&str>, cause: &str| Quarantined {
            index,
            shard,
            path: path.map(PathBuf::from),
            cause: cause.into(),
        };
        let quarantine: Quarantine = [
            sample(17, None, Some("/data/a b,c:d%.jpg"), "the file is empty"),
            sample(usize::MAX, Some(3), None, "gone:\nän end, 100 %"),
            sample(0, Some(0), Some("/x"), ""),
        ]
        .into_iter()
        .collect();
        let text = QuarantineText(&quarantine).to_string();
        assert!(!text.contains(char::is_whitespace), "{text}");
        assert!(text.starts_with("17:/data/a%20b%2Cc%3Ad%25.jpg:the%20file%20is%20empty,"), "{text}");
        assert_eq!(parse(&text), Some(quarantine));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_comes_back_as_well() {
        let path = PathBuf::from(os_string(vec![b'/', 0xff, b'\n']).unwrap());
        let quarantine: Quarantine =
            [Quarantined { index: 1, shard: None, path: Some(path), cause: "no".into() }].into_iter().collect();
        assert_eq!(parse(&QuarantineText(&quarantine).to_string()), Some(quarantine));
    }

    #[test]
    fn what_is_not_a_quarantine_is_refused() {
        for text in
            ["", "1", "1:", "1::a:", "x::a", "1/::a", "/1::a", "1::%4", "1::%zz", "1::%ff", "-1::a", "1::a,", "1::%é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
