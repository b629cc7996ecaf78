//! Domain types as columns. A value that is out of range reads as an error, never as another value.

use bytes::Bytes;
use rusqlite::{
    Row,
    types::{FromSqlError, Type},
};
use types::{AccountId, DeviceNumber, Invalid, PhoneNumber, RegistrationId, Stamp, Timestamp};

/// SQLite has signed integers only; the bits are kept.
pub(super) const fn integer(value: u64) -> i64 {
    value as i64
}

pub(super) const fn millis(time: Timestamp) -> i64 {
    integer(time.as_millis())
}

pub(super) fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)? as u64)
}

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    unsigned(row, at).map(Timestamp::from_millis)
}

pub(super) fn account(row: &Row<'_>, at: usize) -> rusqlite::Result<AccountId> {
    row.get(at).map(AccountId::from_bytes)
}

pub(super) fn device(row: &Row<'_>, at: usize) -> rusqlite::Result<DeviceNumber> {
    DeviceNumber::new(row.get(at)?).map_err(out_of_range(at))
}

pub(super) fn registration(row: &Row<'_>, at: usize) -> rusqlite::Result<RegistrationId> {
    RegistrationId::new(row.get(at)?).map_err(out_of_range(at))
}

pub(super) fn phone(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<PhoneNumber>> {
    let text: Option<String> = row.get(at)?;
    text.map(|text| text.parse().map_err(out_of_range(at))).transpose()
}

pub(super) fn stamp(row: &Row<'_>, at: usize) -> rusqlite::Result<Stamp> {
    let bytes: Vec<u8> = row.get(at)?;
    Stamp::from_slice(&bytes).map_err(out_of_range(at))
}

pub(super) fn bytes(row: &Row<'_>, at: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(at).map(Bytes::from)
}

fn out_of_range(at: usize) -> impl FnOnce(Invalid) -> rusqlite::Error {
    move |invalid| {
        let cause = FromSqlError::Other(Box::new(invalid));
        rusqlite::Error::FromSqlConversionFailure(at, Type::Null, Box::new(cause))
    }
}
