//! Takes messages apart and puts them together again, field by field, as an attacker would.

/// One field: its number, and its value as it is written (a length-delimited one without its length).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Number(u32, u64),
    Bytes(u32, Vec<u8>),
}

impl Field {
    pub(crate) fn tag(&self) -> u32 {
        match self {
            Self::Number(tag, _) | Self::Bytes(tag, _) => *tag,
        }
    }
}

pub(crate) fn decode(mut bytes: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = varint(bytes);
        let tag = (key >> 3) as u32;
        let (value, rest) = varint(rest);
        bytes = match key & 7 {
            0 => {
                fields.push(Field::Number(tag, value));
                rest
            }
            2 => {
                let (content, rest) = rest.split_at(value as usize);
                fields.push(Field::Bytes(tag, content.to_vec()));
                rest
            }
            other => panic!("no message here has fields of type {other}"),
        };
    }
    fields
}

pub(crate) fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Field::Number(tag, value) => {
                write_varint(&mut bytes, u64::from(*tag) << 3);
                write_varint(&mut bytes, *value);
            }
            Field::Bytes(tag, content) => {
                write_varint(&mut bytes, u64::from(*tag) << 3 | 2);
                write_varint(&mut bytes, content.len() as u64);
                bytes.extend_from_slice(content);
            }
        }
    }
    bytes
}

/// The content of a length-delimited field.
pub(crate) fn get(bytes: &[u8], tag: u32) -> Option<Vec<u8>> {
    decode(bytes).into_iter().find_map(|field| match field {
        Field::Bytes(number, content) if number == tag => Some(content),
        _ => None,
    })
}

/// Replaces a length-delimited field, or removes it.
pub(crate) fn set(bytes: &[u8], tag: u32, content: Option<&[u8]>) -> Vec<u8> {
    let mut fields = decode(bytes);
    match content {
        None => fields.retain(|field| field.tag() != tag),
        Some(content) => {
            let field = fields.iter_mut().find(|field| field.tag() == tag).expect("the field is there");
            *field = Field::Bytes(tag, content.to_vec());
        }
    }
    encode(&fields)
}

/// Replaces a number.
pub(crate) fn set_number(bytes: &[u8], tag: u32, value: u64) -> Vec<u8> {
    let mut fields = decode(bytes);
    let field = fields.iter_mut().find(|field| field.tag() == tag).expect("the field is there");
    *field = Field::Number(tag, value);
    encode(&fields)
}

/// Changes the protobuf part of a ratchet message, which stands between a version byte and a MAC of 8 bytes.
pub(crate) fn edit_ratchet(message: &[u8], edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (fields, mac) = message[1..].split_at(message.len() - 9);
    [&message[..1], &edit(fields), mac].concat()
}

/// Changes the protobuf part of a prekey message, which follows a version byte.
pub(crate) fn edit_prekey(message: &[u8], edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    [&message[..1], &edit(&message[1..])].concat()
}

/// Changes the protobuf part of the ratchet message inside a prekey message.
pub(crate) fn edit_inner(message: &[u8], edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    edit_prekey(message, |fields| {
        let inner = get(fields, 4).expect("a prekey message has an inner message");
        set(fields, 4, Some(&edit_ratchet(&inner, edit)))
    })
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (value, &bytes[at + 1..]);
        }
    }
    panic!("an unfinished number");
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
