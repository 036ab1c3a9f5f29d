//! `Row`: one row of a golden file; its arguments, read strictly, and its result, compared.

use serde_json::Value;

/// One row: `{"kind": …, arguments …, "result": …}`.
#[derive(Clone, Copy)]
pub struct Row<'a>(pub &'a Value);

impl Row<'_> {
    fn get(&self, name: &str) -> Result<&Value, String> {
        self.0.get(name).ok_or_else(|| format!("{name} is missing"))
    }

    /// Argument `name` by way of `read`, which knows `what` it takes.
    fn read<'a, T>(&'a self, name: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, String> {
        let value = self.get(name)?;
        read(value).ok_or_else(|| format!("{name} is {}, not {what}", shortened(value)))
    }

    /// The elements of `"result"`.
    pub fn results(&self) -> Result<&[Value], String> {
        self.read("result", "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// A seed, which Python takes from -2^63 to 2^64 - 1: below 0 it is that of the same bits.
    pub fn seed(&self) -> Result<u64, String> {
        self.read("seed", "a whole number from -2^63 to 2^64 - 1", |value| {
            value.as_u64().or_else(|| value.as_i64().map(|seed| seed as u64))
        })
    }

    /// Of samples, say, that memory must hold.
    pub fn length(&self, name: &str) -> Result<usize, String> {
        self.read(name, "a whole number up to 2^32", |value| number(value).filter(|&number| number as u64 <= 1 << 32))
    }

    pub fn number(&self, name: &str) -> Result<usize, String> {
        self.read(name, "a whole number", number)
    }

    /// A number that is at least 1.
    pub fn count(&self, name: &str) -> Result<usize, String> {
        self.read(name, "a whole number from 1 on", |value| number(value).filter(|&number| number > 0))
    }

    /// A length, or `None` of Python's.
    pub fn optional_length(&self, name: &str) -> Result<Option<usize>, String> {
        match self.get(name)? {
            Value::Null => Ok(None),
            _ => self.length(name).map(Some),
        }
    }

    pub fn int64(&self, name: &str) -> Result<i64, String> {
        self.read(name, "an int64", Value::as_i64)
    }

    pub fn bool(&self, name: &str) -> Result<bool, String> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub fn text(&self, name: &str) -> Result<&str, String> {
        self.read(name, "a text", Value::as_str)
    }

    pub fn numbers(&self, name: &str) -> Result<Vec<usize>, String> {
        self.read(name, "a list of whole numbers", |value| value.as_array()?.iter().map(number).collect())
    }

    pub fn doubles(&self, name: &str) -> Result<Vec<f64>, String> {
        self.read(name, "a list of numbers", |value| value.as_array()?.iter().map(Value::as_f64).collect())
    }

    /// The bytes that a text has in base64.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        self.read(name, "a text in base64", |value| from_base64(value.as_str()?))
    }

    /// Whether `got` is the row's result; if not, where they differ first.
    pub fn gives(&self, got: impl Into<Value>) -> Result<(), String> {
        same("result", self.get("result")?, &got.into())
    }

    /// The row's arguments, long ones cut short.
    pub fn arguments(&self) -> String {
        let fields = self.0.as_object().into_iter().flatten();
        let arguments = fields.filter(|(name, _)| !["kind", "result"].contains(&name.as_str()));
        arguments.map(|(name, value)| format!("{name}={}", shortened(value))).collect::<Vec<_>>().join(" ")
    }
}

fn number(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// Whether two values are equal, lists and what is in them; if not, what stands where they first differ. `name` is what
/// they are called.
pub fn same(name: &str, expected: &Value, got: &Value) -> Result<(), String> {
    let (Value::Array(expected), Value::Array(got)) = (expected, got) else {
        return match expected == got {
            true => Ok(()),
            false => Err(format!("{name}: expected {}, got {}", shortened(expected), shortened(got))),
        };
    };
    match (0..expected.len().max(got.len())).find(|&i| expected.get(i) != got.get(i)) {
        None => Ok(()),
        Some(i) if expected.get(i).is_some_and(Value::is_array) && got.get(i).is_some_and(Value::is_array) => {
            same(&format!("{name}[{i}]"), &expected[i], &got[i])
        }
        Some(i) => Err(format!("{name} from [{i}] on: expected {}, got {}", rest(expected, i), rest(got, i))),
    }
}

/// The next few elements.
fn rest(elements: &[Value], from: usize) -> String {
    match &elements[from..] {
        [] => "no more".into(),
        elements => listed(elements),
    }
}

fn shortened(value: &Value) -> String {
    const LONG: usize = 120;
    match value {
        Value::Array(elements) => format!("[{}]", listed(elements)),
        Value::String(text) if text.len() > LONG => format!("a text of {} bytes", text.len()),
        value => value.to_string(),
    }
}

fn listed(elements: &[Value]) -> String {
    const MOST: usize = 5;
    let first: Vec<String> = elements.iter().take(MOST).map(shortened).collect();
    match elements.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{}, … {more} more", first.join(", ")),
    }
}

/// `None` if it is not base64.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}
