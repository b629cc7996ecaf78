//! Registration: a number is proved by a one-time code, then an account is made from what the device
//! signed.
//!
//! Invariants: a code is bound to the session that asked for it, lives ten minutes and takes five
//! tries, counted by the directory before they are compared; asking again voids the code before; who
//! has not proved a number learns nothing about it; the finishing request can be repeated.

use crate::{
    Core,
    admission::settle,
    code,
    keys::{self, KeyError},
    phone,
    quota::{self, Count},
    refusal::Rejection,
    retire::retire,
};
use bytes::Bytes;
use server_ports::{
    StoreError,
    directory::{
        Attempt, ClosedAccount, CreateOutcome, DeviceRecord, NewAccount, RegistrationSession, SessionId,
    },
};
use sha2::{Digest, Sha256};
use signed::{DeviceList, ListError};
use std::net::IpAddr;
use types::{
    AccountId, DeviceAddress, DeviceNumber, MailboxId, Millis, PhoneNumber, Redact, RegistrationId, limits,
};
use wire::KeyUpload;

/// A code is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSent {
    /// Names the session; secret, since it stands for whoever asked.
    pub session: SessionId,
    /// Life of the code.
    pub expires_in: Millis,
}

/// The finishing request of a registration.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The session that asked for the code.
    pub session: SessionId,
    /// What the person typed.
    pub code: Redact<String>,
    /// Version 1 of the account's signed device list: device 1 alone.
    pub device_list: Bytes,
    /// The device's first keys; signed and last-resort prekeys are required.
    pub keys: KeyUpload,
    /// Drawn by the device, so that repeating the request cannot void what an answer already gave. It
    /// opens sessions, together with the device key; only its hash is kept.
    pub token: Redact<[u8; 32]>,
    /// The person confirmed that the number moves here from the account that has it.
    pub replace: bool,
}

/// An account exists and belongs to this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The account.
    pub account: AccountId,
    /// Its first device.
    pub device: DeviceNumber,
    /// Which life of that device number.
    pub registration: RegistrationId,
    /// The number that was proved.
    pub phone: PhoneNumber,
}

/// Why a registration went no further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Not a number that this service accepts.
    #[error("not a valid phone number")]
    BadNumber,
    /// Not the code; so many tries are left.
    #[error("the code is wrong")]
    WrongCode {
        /// Tries that are left.
        tries_left: u32,
    },
    /// Every try is used up: ask for another code.
    #[error("the code was tried too often")]
    CodeExhausted,
    /// Ask for another code.
    #[error("the code has expired")]
    CodeExpired,
    /// There is no such session, or asking again voided it.
    #[error("no code was asked for, or a later one voided it")]
    NoSession,
    /// The number has an account. The code stays good, and `replace` confirms.
    #[error("the number has an account")]
    NumberTaken,
    /// The account key is that of an account that exists or existed: a registration makes a new one.
    #[error("the account key was used before")]
    AccountKeyUsed,
    /// The device list breaks a rule.
    #[error(transparent)]
    BadDeviceList(#[from] ListError),
    /// A list of a registration has version 1 and device 1 alone.
    #[error("a registration begins with version 1 and device 1 alone")]
    NotAFirstList,
    /// The keys are refused.
    #[error(transparent)]
    BadKeys(#[from] KeyError),
    /// The signed or the last-resort prekey is missing.
    #[error("a registration needs a signed and a last-resort prekey")]
    KeysMissing,
    /// A quota: try again after this long.
    #[error("too many registrations; try again later")]
    RetryAfter(Millis),
    /// The text message could not be handed over.
    #[error("the code could not be sent")]
    NotSent,
    /// The outcome is unknown: repeat the request.
    #[error("the service cannot answer now")]
    Unavailable,
}

impl Core {
    /// Sends a code to a number and begins the session in which it can be used. Every earlier unfinished
    /// session for the number is void.
    pub async fn registration_begin(&self, phone: &str, from: IpAddr) -> Result<CodeSent, RegistrationError> {
        let phone = phone::parse(phone, self.config.strict_numbers).ok_or(RegistrationError::BadNumber)?;
        self.spend_code(&phone, from).await?;
        let session: SessionId = self.ports.entropy.array();
        let code = code::draw(self);
        let begun = RegistrationSession {
            id: session,
            phone: phone.clone(),
            code_hash: code::hash(self, &session, &code),
            expires_at: self.now() + limits::CODE_LIFE,
        };
        self.ports.directory.begin(begun).await.map_err(|error| self.unavailable(&error))?;
        if let Err(error) = self.ports.texter.send_code(&phone, &code).await {
            tracing::warn!(%error, "a one-time code was not sent");
            return Err(RegistrationError::NotSent);
        }
        metrics::counter!("waxwing_codes_sent_total").increment(1);
        Ok(CodeSent { session, expires_in: limits::CODE_LIFE })
    }

    /// Proves the number by its code and creates the account. Repeating the request of a session that
    /// created this account answers the same account.
    pub async fn registration_finish(
        &self,
        finish: Finish,
        from: IpAddr,
    ) -> Result<Registered, RegistrationError> {
        let list = check(&finish)?;
        let registered = match self.prove(&finish).await? {
            Some(phone) => self.create(finish, list, phone, from).await,
            None => self.repeat(finish, list).await,
        }?;
        self.ports.texter.forget(&registered.phone);
        Ok(registered)
    }

    /// The number that the code proves; none for a session that is not there (any more).
    async fn prove(&self, finish: &Finish) -> Result<Option<PhoneNumber>, RegistrationError> {
        let hash = code::hash(self, &finish.session, &finish.code);
        let attempt = self.ports.directory.attempt(finish.session, hash, self.now()).await;
        match attempt.map_err(|error| self.unavailable(&error))? {
            Attempt::Proved(phone) => Ok(Some(phone)),
            Attempt::Unknown => Ok(None),
            Attempt::Wrong { phone, left } => {
                if left == 0 {
                    self.ports.texter.forget(&phone);
                }
                Err(RegistrationError::WrongCode { tries_left: left })
            }
            Attempt::Exhausted => Err(RegistrationError::CodeExhausted),
            Attempt::Expired => Err(RegistrationError::CodeExpired),
        }
    }

    async fn create(
        &self,
        finish: Finish,
        list: DeviceList,
        phone: PhoneNumber,
        from: IpAddr,
    ) -> Result<Registered, RegistrationError> {
        // Asked only now that the code has proved the number, and before anything is used up.
        if !finish.replace && self.is_held_by_another(&phone, list.account()).await? {
            return Err(RegistrationError::NumberTaken);
        }
        let existing = self.ports.directory.account(list.account()).await;
        if existing.map_err(|error| self.unavailable(&error))?.is_some() {
            let repeated = self.repeat(finish, list).await;
            return repeated.map_err(|error| match error {
                RegistrationError::NoSession => RegistrationError::AccountKeyUsed,
                other => other,
            });
        }
        self.spend_registration(from).await?;
        let account = self.new_account(finish, &list, phone.clone())?;
        let mailbox = account.device.mailbox;
        // Open before listed: whoever finds the account must find its mailbox.
        let opened = self.ports.mailboxes.open(mailbox).await;
        opened.map_err(|error| self.unavailable(&error))?;
        let outcome = self.ports.directory.create(account).await.map_err(|error| self.unavailable(&error))?;
        match outcome {
            CreateOutcome::Created { closed } => self.retire_former(closed).await?,
            CreateOutcome::Repeat { .. } => {}
            CreateOutcome::NumberTaken => return Err(RegistrationError::NumberTaken),
            CreateOutcome::AccountExists => return Err(RegistrationError::AccountKeyUsed),
            CreateOutcome::NoSession => return Err(RegistrationError::NoSession),
        }
        Ok(registered(mailbox, phone))
    }

    /// The session is consumed or never was. If it created this very account, the answer was lost and is
    /// given again; everybody else learns nothing but that there is no such session.
    async fn repeat(&self, finish: Finish, list: DeviceList) -> Result<Registered, RegistrationError> {
        let existing = self.ports.directory.account(list.account()).await;
        let existing = existing.map_err(|error| self.unavailable(&error))?;
        let phone = existing.and_then(|account| account.phone).ok_or(RegistrationError::NoSession)?;
        let account = self.new_account(finish, &list, phone.clone())?;
        let mailbox = account.device.mailbox;
        match self.ports.directory.create(account).await.map_err(|error| self.unavailable(&error))? {
            CreateOutcome::Repeat { .. } => Ok(registered(mailbox, phone)),
            _ => Err(RegistrationError::NoSession),
        }
    }

    fn new_account(
        &self,
        finish: Finish,
        list: &DeviceList,
        phone: PhoneNumber,
    ) -> Result<NewAccount, RegistrationError> {
        let device = list.devices().first().ok_or(RegistrationError::NotAFirstList)?;
        Ok(NewAccount {
            session: finish.session,
            id: list.account(),
            key: *list.account_key().as_bytes(),
            phone,
            list_version: list.version(),
            list: finish.device_list,
            device: DeviceRecord {
                mailbox: DeviceAddress::new(list.account(), device.number()).mailbox(device.registration()),
                device_key: *device.device_key().as_bytes(),
                token_hash: Sha256::digest(finish.token.expose()).into(),
                connection_number: 0,
                last_connected: self.now(),
            },
            keys: finish.keys,
            replace: finish.replace,
            now: self.now(),
        })
    }

    async fn is_held_by_another(
        &self,
        phone: &PhoneNumber,
        account: AccountId,
    ) -> Result<bool, RegistrationError> {
        let holders = self.ports.directory.find(std::slice::from_ref(phone)).await;
        let holder = holders.map_err(|error| self.unavailable(&error))?.into_iter().next().flatten();
        Ok(holder.is_some_and(|holder| holder != account))
    }

    /// The number moved: the account that had it is empty and its sessions are over.
    async fn retire_former(&self, former: Option<ClosedAccount>) -> Result<(), RegistrationError> {
        if let Some(former) = former {
            retire(self, Some(former.id)).await.map_err(|error| self.unavailable(&error))?;
            settle(self, former.id).await.map_err(|error| self.unavailable(&error))?;
        }
        metrics::counter!("waxwing_accounts_registered_total").increment(1);
        Ok(())
    }

    async fn spend_code(&self, phone: &PhoneNumber, from: IpAddr) -> Result<(), RegistrationError> {
        let quotas = &self.config.quotas;
        let (address, prefix) = (address_bytes(from), phone::prefix(phone));
        let counts = [
            Count { quota: "codes", subject: &[], allowance: quotas.codes },
            Count {
                quota: "codes_per_prefix",
                subject: &[prefix.as_bytes()],
                allowance: quotas.codes_per_prefix,
            },
            Count { quota: "codes_per_address", subject: &[&address], allowance: quotas.codes_per_address },
            Count {
                quota: "codes_per_number",
                subject: &[phone.e164().as_bytes()],
                allowance: quotas.codes_per_number,
            },
        ];
        // Nothing is spent on a code that is not sent: who is refused for one count must not use up the others.
        for count in counts {
            if let Some(wait) = quota::exhausted(self, count).await.map_err(RegistrationError::of_quota)? {
                return Err(RegistrationError::RetryAfter(wait));
            }
        }
        for count in counts {
            quota::spend(self, count, 1).await.map_err(RegistrationError::of_quota)?;
        }
        Ok(())
    }

    async fn spend_registration(&self, from: IpAddr) -> Result<(), RegistrationError> {
        let (address, allowance) = (address_bytes(from), self.config.quotas.registrations_per_address);
        let count = Count { quota: "registrations_per_address", subject: &[&address], allowance };
        quota::spend(self, count, 1).await.map_err(RegistrationError::of_quota)
    }

    fn unavailable(&self, error: &StoreError) -> RegistrationError {
        self.note(error);
        RegistrationError::Unavailable
    }
}

impl RegistrationError {
    fn of_quota(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Quota { retry_after } => Self::RetryAfter(retry_after),
            _ => Self::Unavailable,
        }
    }
}

const fn registered(mailbox: MailboxId, phone: PhoneNumber) -> Registered {
    let MailboxId { account, device, registration } = mailbox;
    Registered { account, device, registration, phone }
}

/// What a device can get wrong whatever the code says: pure.
fn check(finish: &Finish) -> Result<DeviceList, RegistrationError> {
    let list = DeviceList::verify(&finish.device_list)?;
    if list.version() != 1 || list.devices().len() != 1 {
        return Err(RegistrationError::NotAFirstList);
    }
    keys::check(&finish.keys)?;
    if finish.keys.signed_prekey.is_none() || finish.keys.last_resort.is_none() {
        return Err(RegistrationError::KeysMissing);
    }
    Ok(list)
}

/// One person's address: all of an IPv4 address, the network half of an IPv6 one.
pub(crate) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}
