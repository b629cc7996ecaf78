//! Changes to an input, drawn from a seed: what transmission, a liar, and an off-by-one do to bytes.

use rand::{Rng, RngCore, rngs::SmallRng, seq::IndexedRandom};

/// Numbers at which lengths and counters change their form or their sign.
const EDGES: &[u64] = &[
    0,
    1,
    125,
    126,
    127,
    128,
    255,
    256,
    16_383,
    16_384,
    32_767,
    65_535,
    65_536,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    u64::MAX,
];

/// The most changes to one input; more of them leave nothing that is valid.
const CHANGES_MAX: usize = 5;

/// Changes `input` a few times. `other` lends bytes; the result is at most `bytes_max` long.
pub fn mutate(input: &[u8], other: &[u8], bytes_max: usize, rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        change(&mut bytes, other, rng);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &mut SmallRng) {
    match rng.random_range(0..10) {
        0 => flip_bit(bytes, rng),
        1 => set_byte(bytes, rng),
        2 => add_to_byte(bytes, rng),
        3 => drop(bytes.drain(range(bytes.len(), rng))),
        4 => bytes.truncate(rng.random_range(0..=bytes.len())),
        5 => repeat(bytes, rng),
        6 => insert(bytes, &random_bytes(rng), rng),
        7 => insert(bytes, &edge(rng), rng),
        8 => overwrite(bytes, &edge(rng), rng),
        _ => insert(bytes, &other[range(other.len(), rng)], rng),
    }
}

fn flip_bit(bytes: &mut [u8], rng: &mut SmallRng) {
    if !bytes.is_empty() {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
}

fn set_byte(bytes: &mut [u8], rng: &mut SmallRng) {
    if !bytes.is_empty() {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
}

fn add_to_byte(bytes: &mut [u8], rng: &mut SmallRng) {
    if !bytes.is_empty() {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = bytes[at].wrapping_add(if rng.random() { 1 } else { 255 });
    }
}

/// Says something twice.
fn repeat(bytes: &mut Vec<u8>, rng: &mut SmallRng) {
    let part = bytes[range(bytes.len(), rng)].to_vec();
    insert(bytes, &part, rng);
}

fn insert(bytes: &mut Vec<u8>, part: &[u8], rng: &mut SmallRng) {
    let at = rng.random_range(0..=bytes.len());
    bytes.splice(at..at, part.iter().copied());
}

fn overwrite(bytes: &mut [u8], part: &[u8], rng: &mut SmallRng) {
    if let Some(room) = bytes.len().checked_sub(part.len()) {
        let at = rng.random_range(0..=room);
        bytes[at..at + part.len()].copy_from_slice(part);
    }
}

fn random_bytes(rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..=16)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A number at an edge, in one of the forms that our formats use.
fn edge(rng: &mut SmallRng) -> Vec<u8> {
    let number = EDGES.choose(rng).copied().unwrap_or_default();
    match rng.random_range(0..5) {
        0 => vec![number as u8],
        1 => (number as u16).to_be_bytes().to_vec(),
        2 => (number as u32).to_be_bytes().to_vec(),
        3 => number.to_be_bytes().to_vec(),
        _ => varint(number),
    }
}

/// Seven bits a byte, least significant first, as protobuf writes it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A part of something that is `length` long: short parts more often than long ones.
fn range(length: usize, rng: &mut SmallRng) -> std::ops::Range<usize> {
    let start = rng.random_range(0..=length);
    let room = length - start;
    let longest = if rng.random_bool(0.8) { room.min(32) } else { room };
    start..start + rng.random_range(0..=longest)
}
