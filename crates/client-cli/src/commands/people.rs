//! Several people named at once: all of them are found, or those who are not are named.

use super::{chat_name, look_up, look_up_all, unknown_names};
use crate::{
    failure::{Failure, Reason},
    session::{Session, Waiting, Woken},
};
use client::{ChatName, HeldReason, Resolved};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use types::{AccountId, ChatId, PhoneNumber};

/// Who was named how.
#[derive(Debug, Default)]
pub struct People {
    typed: BTreeMap<AccountId, String>,
}

/// Checks that each of them can be a person. What was typed is not repeated: the error says which one it was.
pub fn check(typed: &[String]) -> Result<(), Failure> {
    let bad = typed.iter().enumerate().find_map(|(index, typed)| Some((index, person(typed).err()?)));
    match bad {
        None => Ok(()),
        Some((_, failure)) if typed.len() == 1 => Err(failure),
        Some((index, failure)) => Err(failure.about(&format!("person {} of {}", index + 1, typed.len()))),
    }
}

/// A person has a number or an id; only groups have names.
pub fn person(typed: &str) -> Result<ChatName, Failure> {
    match chat_name(typed)? {
        ChatName::Name(_) => Err(super::unknown_name()),
        name => Ok(name),
    }
}

impl People {
    /// The accounts of all these people. Numbers that this profile does not know, and ids of which it knows
    /// nothing, are looked up first.
    pub async fn find(
        &mut self,
        typed: &[String],
        session: &Session,
        waiting: &mut Waiting,
        deadline: Instant,
    ) -> Result<Vec<AccountId>, Failure> {
        let mut unknown = Vec::new();
        let mut strangers = BTreeSet::new();
        let (mut wanted, mut numbers): (Vec<PhoneNumber>, Vec<&String>) = Default::default();
        for typed in typed {
            let name = person(typed)?;
            let asked = name.clone();
            match (session.ask(move |engine, _| engine.view().resolve(&asked)).await?, name) {
                (Resolved::Known(ChatId::Direct(account)), _) => self.learn(account, typed),
                (Resolved::Stranger(account), _) => {
                    strangers.insert(account);
                    self.learn(account, typed);
                }
                (Resolved::LookUp, ChatName::Phone(phone)) => {
                    wanted.push(phone);
                    numbers.push(typed);
                }
                _ => unknown.push(typed.clone()),
            }
        }
        if !wanted.is_empty() {
            let found = look_up_all(wanted, session, waiting, deadline).await?;
            for (typed, account) in numbers.into_iter().zip(found) {
                match account {
                    Some(account) => self.learn(account, typed),
                    None => unknown.push(typed.clone()),
                }
            }
        }
        let missing = find_strangers(strangers, session, waiting, deadline).await?;
        unknown.extend(missing.iter().map(ToString::to_string));
        if unknown.is_empty() {
            Ok(self.typed.keys().copied().collect())
        } else {
            Err(unknown_names(&unknown))
        }
    }

    fn learn(&mut self, account: AccountId, typed: &str) {
        self.typed.entry(account).or_insert_with(|| typed.to_owned());
    }

    /// The same for people who are to come into a group: refused if one of them is not reached any more by the account
    /// that this profile knows, because it was closed, or because the number belongs to another one now.
    pub async fn find_reachable(
        &mut self,
        typed: &[String],
        session: &Session,
        waiting: &mut Waiting,
        deadline: Instant,
    ) -> Result<Vec<AccountId>, Failure> {
        let accounts = self.find(typed, session, waiting, deadline).await?;
        refresh(accounts.clone(), session, waiting, deadline).await?;
        let mut closed = Vec::new();
        for account in &accounts {
            let account = *account;
            if !session.ask(move |engine, _| engine.view().is_closed(account)).await?
                && moved(account, session).await?.is_none()
            {
                continue;
            }
            // Where the number leads now is for the person to accept first.
            if let Some(Ok(ChatName::Phone(phone))) = self.typed.get(&account).map(|typed| chat_name(typed)) {
                look_up(phone, session, waiting, deadline).await?;
            }
            match moved(account, session).await? {
                Some(phone) => return Err(moved_away(&phone)),
                None => closed.push(account),
            }
        }
        if closed.is_empty() { Ok(accounts) } else { Err(unknown_names(&[self.named(&closed)])) }
    }

    /// The accounts as they were typed.
    pub fn named(&self, accounts: &[AccountId]) -> String {
        let name = |account: &AccountId| self.typed.get(account).cloned().unwrap_or(account.to_string());
        accounts.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Lets this profile know which of these accounts were closed, as far as the server says so in time.
async fn refresh(
    accounts: Vec<AccountId>,
    session: &Session,
    waiting: &mut Waiting,
    deadline: Instant,
) -> Result<(), Failure> {
    let driver = session.driver();
    let asked = driver.call(move |engine, now, rng| engine.fetch_device_lists(&accounts, now, rng)).await;
    asked.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| crate::trouble::fault(&fault))?;
    session.connect().await?;
    loop {
        let progress = waiting.progress();
        let is_settled = session.ask(|engine, _| Ok(engine.is_settled())).await?;
        if is_settled || progress.ended.is_some() || waiting.until(Some(deadline)).await != Woken::Changed {
            return Ok(());
        }
    }
}

/// The number that has left an account, until the person accepts that.
async fn moved(account: AccountId, session: &Session) -> Result<Option<String>, Failure> {
    let held = session.ask(move |engine, _| engine.view().held_reason(account.into())).await?;
    Ok(held.map(|HeldReason::KeyChanged { phone, .. }| phone.e164().to_owned()))
}

/// Whoever has this number now was not accepted yet.
fn moved_away(phone: &str) -> Failure {
    Failure::new(
        Reason::BadMember,
        format!("{phone} belongs to a new account now; nothing was changed"),
        format!("compare safety numbers, then accept it with 'wax verify {phone} --accept'"),
    )
}

/// Accounts among these of which the server knows nothing either. Without its word they are taken as they
/// are: it refuses them later.
async fn find_strangers(
    mut strangers: BTreeSet<AccountId>,
    session: &Session,
    waiting: &mut Waiting,
    deadline: Instant,
) -> Result<BTreeSet<AccountId>, Failure> {
    let wanted: Vec<AccountId> = strangers.iter().copied().collect();
    let asked =
        session.driver().call(move |engine, now, rng| engine.fetch_device_lists(&wanted, now, rng)).await;
    asked.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| crate::trouble::fault(&fault))?;
    while !strangers.is_empty() {
        let progress = waiting.progress();
        let asked = strangers.clone();
        let (found, settled) = session
            .ask(move |engine, _| {
                let mut found = Vec::new();
                for account in asked {
                    if engine.view().is_list_known(account)? {
                        found.push(account);
                    }
                }
                Ok((found, engine.is_settled()))
            })
            .await?;
        strangers.retain(|account| !found.contains(account));
        if settled {
            break;
        }
        if progress.ended.is_some() || waiting.until(Some(deadline)).await != Woken::Changed {
            return Ok(BTreeSet::new());
        }
    }
    Ok(strangers)
}
