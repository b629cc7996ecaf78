//! The devices of our own account: what is shown of them, and the lists that the primary signs.
//!
//! Every list carries the devices of the one before as they signed themselves, and their names, sealed for the
//! account's own devices. A version is written as used before it is signed.

use crate::{
    Fault,
    store::{Stored, account, device_lists, profile, profile::Me},
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use seal::{
    SyncKey,
    link::Candidate,
    names::{self, DeviceName, NamedDevice},
};
use signed::{AccountSecret, DeviceList, DeviceListDraft, ListedDevice};
use types::{DeviceNumber, Timestamp};

/// What the primary is called that was given no name.
const UNNAMED: &str = "primary device";

/// One device of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceView {
    /// Its number.
    pub device: DeviceNumber,
    /// What it is called, if this device can read the names.
    pub name: Option<String>,
    /// When it was linked, or registered, by the primary's clock.
    pub added_at: Timestamp,
    /// Whether it is this one.
    pub this_device: bool,
}

/// The devices of the account, as its newest known list says.
pub(crate) fn view(db: &Connection) -> Stored<Vec<DeviceView>> {
    let me = profile::require(db)?;
    let Some(list) = device_lists::get(db, me.account())? else { return Ok(Vec::new()) };
    let named = named(db, &list)?;
    let view = |device: &ListedDevice| {
        let known = named.iter().find(|named| named.device == device.number());
        DeviceView {
            device: device.number(),
            name: match known {
                Some(named) => Some(named.name.as_str().to_owned()),
                None => me.name.clone().filter(|_| device.number() == me.address.device),
            },
            added_at: known.map_or(list.issued_at(), |named| named.added_at),
            this_device: device.number() == me.address.device,
        }
    };
    Ok(list.devices().iter().map(view).collect())
}

/// Whether this is the device that signs lists.
pub(crate) fn is_primary(me: &Me) -> bool {
    me.account_secret.is_some() && me.address.device == DeviceNumber::PRIMARY
}

/// The account key, which the primary alone has.
pub(crate) fn account_secret(me: &Me) -> Stored<&AccountSecret> {
    me.account_secret.as_ref().ok_or(Fault::Bug("only the primary device signs lists"))
}

/// The key of the account's own devices; drawn on the primary, if its account is older than the key.
pub(crate) fn sync_key(db: &Connection, rng: &mut dyn CryptoRng) -> Stored<SyncKey> {
    match account::sync_key(db)? {
        Some(key) => Ok(key),
        None => {
            let key = SyncKey::random(rng);
            account::set_sync_key(db, &key)?;
            Ok(key)
        }
    }
}

/// Signs the first list of an account, with this device alone.
pub(crate) fn sign_first(db: &Connection, me: &Me, now: Timestamp) -> Stored<DeviceList> {
    sign(db, me, vec![own_entry(me)], Vec::new(), now)
}

/// Signs the same devices anew.
pub(crate) fn sign_fresh(
    db: &Connection,
    me: &Me,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<DeviceList> {
    let list = own_list(db, me)?;
    let names = all_named(db, me, &list)?;
    sign_named(db, me, list.devices().to_vec(), &names, now, rng)
}

/// Signs a list with one more device.
pub(crate) fn sign_with(
    db: &Connection,
    me: &Me,
    candidate: Candidate,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<DeviceList> {
    let list = own_list(db, me)?;
    let Candidate { listed, name, digits: _ } = candidate;
    let mut names = all_named(db, me, &list)?;
    names.retain(|named| named.device != listed.number());
    names.push(NamedDevice { device: listed.number(), name, added_at: now });
    let mut devices = list.devices().to_vec();
    devices.push(listed);
    devices.sort_by_key(ListedDevice::number);
    sign_named(db, me, devices, &names, now, rng)
}

/// Signs a list without a device.
pub(crate) fn sign_without(
    db: &Connection,
    me: &Me,
    device: DeviceNumber,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<DeviceList> {
    let list = own_list(db, me)?;
    let mut names = all_named(db, me, &list)?;
    names.retain(|named| named.device != device);
    let devices = list.devices().iter().filter(|listed| listed.number() != device).cloned().collect();
    sign_named(db, me, devices, &names, now, rng)
}

/// Signs a list in which this device takes the place of the primary of `list`; the others stay as they are.
pub(crate) fn sign_in_place_of_primary(
    db: &Connection,
    me: &Me,
    list: &DeviceList,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<DeviceList> {
    let linked = list.devices().iter().filter(|listed| listed.number() != DeviceNumber::PRIMARY).cloned();
    let devices = std::iter::once(own_entry(me)).chain(linked).collect();
    let mut names = named(db, list)?;
    names.retain(|named| named.device != DeviceNumber::PRIMARY);
    names.insert(0, NamedDevice { device: DeviceNumber::PRIMARY, name: own_name(me)?, added_at: now });
    sign_named(db, me, devices, &names, now, rng)
}

fn sign_named(
    db: &Connection,
    me: &Me,
    devices: Vec<ListedDevice>,
    names: &[NamedDevice],
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<DeviceList> {
    let key = sync_key(db, rng)?;
    let sealed = names::seal(&key, me.account(), names, rng)
        .map_err(|_| Fault::Bug("the names of our devices could not be sealed"))?;
    sign(db, me, devices, sealed, now)
}

fn sign(
    db: &Connection,
    me: &Me,
    devices: Vec<ListedDevice>,
    sealed_names: Vec<u8>,
    now: Timestamp,
) -> Stored<DeviceList> {
    let version = profile::next_list_version(db)?;
    let draft = DeviceListDraft { version, issued_at: now, devices, sealed_names };
    draft.sign(account_secret(me)?).map_err(|_| Fault::Bug("our own list breaks a rule"))
}

fn own_list(db: &Connection, me: &Me) -> Stored<DeviceList> {
    device_lists::get(db, me.account())?.ok_or(Fault::Bug("our own list is missing"))
}

fn own_entry(me: &Me) -> ListedDevice {
    let identity = *me.identity.public();
    ListedDevice::sign(me.account(), me.address.device, me.registration, identity, &me.device_secret)
}

/// The names that a list carries, as far as this device can read them.
fn named(db: &Connection, list: &DeviceList) -> Stored<Vec<NamedDevice>> {
    let Some(key) = account::sync_key(db)? else { return Ok(Vec::new()) };
    Ok(names::open(&key, list.account(), list.sealed_names()).unwrap_or_default())
}

/// The same with this device, which the first list does not name: that list is as old as the registration.
fn all_named(db: &Connection, me: &Me, list: &DeviceList) -> Stored<Vec<NamedDevice>> {
    let mut names = named(db, list)?;
    if names.iter().all(|named| named.device != me.address.device) {
        let added_at = list.issued_at();
        names.insert(0, NamedDevice { device: me.address.device, name: own_name(me)?, added_at });
    }
    Ok(names)
}

fn own_name(me: &Me) -> Stored<DeviceName> {
    let name = me.name.as_deref().and_then(|name| name.parse().ok());
    name.map_or_else(|| UNNAMED.parse().map_err(|_| Fault::Bug("a name of ours is not valid")), Ok)
}
