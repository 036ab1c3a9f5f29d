//! `Message`: a protocol buffer, written field by field (protobuf.dev/programming-guides/encoding).

#[derive(Default)]
pub(super) struct Message(Vec<u8>);

/// How a field is written.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const COUNTED_BYTES: u32 = 2;
const FOUR_BYTES: u32 = 5;

impl Message {
    pub(super) fn int(mut self, field: u32, value: u64) -> Self {
        self.tag(field, VARINT);
        self.varint(value);
        self
    }

    pub(super) fn double(mut self, field: u32, value: f64) -> Self {
        self.tag(field, EIGHT_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, FOUR_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.tag(field, COUNTED_BYTES);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend(bytes.as_ref());
        self
    }

    pub(super) fn message(self, field: u32, message: Message) -> Self {
        self.bytes(field, message.0)
    }

    /// `[packed = true]`.
    pub(super) fn doubles(self, field: u32, values: impl Iterator<Item = f64>) -> Self {
        self.bytes(field, values.flat_map(f64::to_le_bytes).collect::<Vec<u8>>())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_encoding_guide_has_them() {
        assert_eq!(Message::default().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().bytes(2, "testing").into_bytes(), *b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        assert_eq!(Message::default().message(3, inner).into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::default().float(5, 1.0).into_bytes(), [0x2d, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::default().int(1, u64::MAX).into_bytes().len(), 11);
    }
}
