//! Ready-made profiles: devices that were registered once in a process and are copied for every schedule,
//! because making a hundred prekeys of each kind takes longer than all the rest of it.

use super::office::{Account, Desk, ORIGIN, Office};
use crate::disk::Disk;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use client::{Engine, HttpAnswer, HttpRequest, NewAccount, NewDevice};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::{Value, json};
use signed::{AccountSecret, DeviceList};
use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};
use testkit::fixture;
use types::{DeviceNumber, MailboxId, PhoneNumber, Timestamp};
use wire::KeyUpload;

/// When they were registered, and when schedules begin.
pub const START: Timestamp = fixture::EPOCH;
/// People who take part at most.
pub const PEOPLE_MAX: usize = 4;
/// Devices that ask to be linked in one schedule, at most.
const NEWCOMERS: u64 = 3;

/// A registered device, and what its server knows of it.
pub struct Profile {
    /// What the engine has.
    pub disk: Disk,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The account's number.
    pub phone: PhoneNumber,
    list: DeviceList,
    desk: Desk,
}

impl Profile {
    /// The account's secret, which only a thief would take.
    ///
    /// # Panics
    /// Never: a registered primary device has one.
    pub fn account_secret(&self) -> AccountSecret {
        let secret = self.disk.account_secret();
        AccountSecret::from_bytes(&secret.expect("a primary device has the account's secret"))
    }

    /// The public identity key.
    ///
    /// # Panics
    /// Never: a list has a primary device.
    pub fn identity(&self) -> [u8; 33] {
        *self.list.devices().first().expect("a list has a primary device").identity_key().as_bytes()
    }

    fn copy(&self) -> Self {
        Self {
            disk: self.disk.copy(),
            mailbox: self.mailbox,
            phone: self.phone.clone(),
            list: self.list.clone(),
            desk: self.desk.clone(),
        }
    }

    /// Makes the account known to a server.
    pub fn enter(&self, office: &mut Office) {
        let desks = BTreeMap::from([(DeviceNumber::PRIMARY, self.desk.clone())]);
        let account = Account { lists: vec![self.list.clone()], desks };
        office.accounts.insert(self.mailbox.account, account);
        office.numbers.insert(self.phone.clone(), self.mailbox.account);
    }
}

/// Copies of so many profiles, the same in every schedule.
///
/// # Panics
/// If there are more than [`PEOPLE_MAX`].
pub fn take(count: usize) -> Vec<Profile> {
    static READY: OnceLock<Mutex<Vec<Profile>>> = OnceLock::new();
    let ready = READY.get_or_init(|| Mutex::new((0..PEOPLE_MAX).map(register).collect()));
    let ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(count <= ready.len(), "there are only {PEOPLE_MAX} ready-made profiles");
    ready.iter().take(count).map(Profile::copy).collect()
}

/// Copies of devices that want to become one of an account, with all keys made.
pub fn newcomers() -> Vec<Disk> {
    static READY: OnceLock<Mutex<Vec<Disk>>> = OnceLock::new();
    let ready = READY.get_or_init(|| Mutex::new((0..NEWCOMERS).map(offer).collect()));
    ready.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Disk::copy).collect()
}

/// What a newcomer says of itself.
pub fn newcomer() -> NewDevice {
    NewDevice { server: ORIGIN.to_owned(), server_pin: None, name: None }
}

fn offer(number: u64) -> Disk {
    let disk = Disk::new();
    let mut rng = ChaCha20Rng::seed_from_u64(0xf1e5 + number);
    let mut engine = Engine::open(disk.connect()).expect("an empty disk can be opened");
    engine.begin_link(&newcomer(), START, &mut rng).expect("a new profile can be linked");
    drop(engine);
    disk
}

fn register(number: usize) -> Profile {
    let disk = Disk::new();
    let mut rng = ChaCha20Rng::seed_from_u64(0xace0 + number as u64);
    let mut engine = Engine::open(disk.connect()).expect("an empty disk can be opened");
    let phone = fixture::phone(700 + number as u16);
    let account =
        NewAccount { server: ORIGIN.to_owned(), server_pin: None, phone: phone.clone(), name: None };
    engine.begin_registration(&account, START, &mut rng).expect("a new profile can register");
    let sent = answer(&json!({ "session": "5e55107", "expires_in": 600 }));
    engine.code_sent(&sent).expect("the answer is one");
    let request = engine.finish_registration("123456", false).expect("a code was asked for");
    let (list, desk) = read(&request);
    let listed = &list.devices()[0];
    let made = json!({
        "account": list.account().to_string(), "device": 1, "registration": listed.registration().get(),
    });
    engine.registered(&answer(&made)).expect("the answer is one");
    let mailbox = list.mailboxes().next().expect("a list has a primary device");
    drop(engine);
    Profile { disk, mailbox, phone, list, desk }
}

fn answer(body: &Value) -> HttpAnswer {
    HttpAnswer { status: 201, body: body.to_string().into_bytes() }
}

/// The list and the keys that a registration carries.
fn read(request: &HttpRequest) -> (DeviceList, Desk) {
    let body: Value = serde_json::from_slice(&request.body).expect("a body is JSON");
    let field = |name: &str| {
        BASE64.decode(body[name].as_str().unwrap_or_default()).expect("binary fields are base64")
    };
    let list = DeviceList::verify(&field("device_list")).expect("an engine signs good lists");
    let keys = KeyUpload::decode(field("keys").into()).expect("an engine makes good keys");
    let token = field("token").try_into().expect("a token has 32 bytes");
    (list, Desk::new(token, keys).expect("a registration carries all keys"))
}
