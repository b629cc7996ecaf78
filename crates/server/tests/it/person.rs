//! A person with the real engine and the real driver, in this process, over a profile on disk.

use crate::{node::Node, witness::Witness};
use client::{DeliveryState, Engine, EventView, HttpRequest, NewAccount, SendText, View};
use client_net::{CertificatePin, Dialer, Driver, ServerUrl, exchange};
use rand::{TryRngCore, rngs::OsRng};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use testkit::{
    digest,
    history::{Fact, Line, ReceiptKind},
};
use types::{AccountId, DeviceAddress, MessageId, PhoneNumber, Timestamp};

/// Somebody who writes and reads.
pub struct Person {
    pub phone: PhoneNumber,
    pub address: DeviceAddress,
    driver: Driver,
    witness: Witness,
    sent: Arc<Mutex<Vec<(MessageId, AccountId)>>>,
    profile: tempfile::TempDir,
}

/// What must stay on a device, and the token, which does not.
pub struct Secrets {
    pub keys: Vec<Vec<u8>>,
    pub token: Vec<u8>,
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

impl Person {
    /// Registers by way of `origin`, which is the server's own or a proxy's.
    pub async fn register(node: &Node, origin: &str, number: u32, witness: &Witness) -> Self {
        let phone: PhoneNumber = format!("+1555200{number:04}").parse().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let database = client::database::open(&profile.path().join("profile.sqlite")).unwrap();
        let mut engine = Engine::open(database).unwrap();
        let new =
            NewAccount { server: origin.to_owned(), server_pin: None, phone: phone.clone(), name: None };
        let dialer = Dialer::new(origin.parse::<ServerUrl>().unwrap(), None::<CertificatePin>).unwrap();
        let request = engine.begin_registration(&new, now(), &mut OsRng.unwrap_err()).unwrap();
        engine.code_sent(&ask(&dialer, &request).await).unwrap();
        let request = engine.finish_registration(&node.code(&phone).await, false).unwrap();
        let registered = engine.registered(&ask(&dialer, &request).await).unwrap();
        let address = DeviceAddress::new(registered.account, registered.device);
        let (driver, _task) = Driver::start(engine);
        driver.connect().await.unwrap();
        let sent = Arc::default();
        tokio::spawn(watch(driver.clone(), address, witness.clone()));
        witness.note(Fact::Online { device: address });
        Self { phone, address, driver, witness: witness.clone(), sent, profile }
    }

    /// The private keys of this device, and the token that only its server shall see.
    pub fn secrets(&self) -> Secrets {
        let database = client::database::open_read_only(&self.profile.path().join("profile.sqlite")).unwrap();
        let column = |name: &str| -> Vec<u8> {
            database.query_row(&format!("SELECT {name} FROM profile"), [], |row| row.get(0)).unwrap()
        };
        // The private half of the pair stands at its end.
        let identity = column("identity");
        let private = identity[identity.len() - 32..].to_vec();
        Secrets {
            keys: vec![column("account_secret"), column("device_secret"), private],
            token: column("token"),
        }
    }

    /// Writes to somebody; the message is stored when this returns, whatever the network does.
    pub async fn write(&self, to: &Person, text: &str) -> MessageId {
        let chat = to.address.account;
        let (text, body) = (text.to_owned(), digest::of(text.as_bytes()));
        let (witness, sender) = (self.witness.clone(), self.address);
        let message = self
            .driver
            .call(move |engine, now, rng| {
                let message_id = MessageId::new(now, rng);
                witness.note(Fact::Composed { message: message_id, sender, to: chat.into(), body });
                engine.send_text(SendText { chat: chat.into(), message_id, text }, now, rng).unwrap();
                message_id
            })
            .await
            .unwrap();
        self.sent.lock().unwrap().push((message, chat));
        message
    }

    /// Learns which account a number leads to; needs the server.
    pub async fn find(&self, other: &Person) {
        let found = self.driver.look_up(other.phone.clone()).await.unwrap();
        assert_eq!(found, Ok(Some(other.address.account)));
    }

    pub async fn ask<R: Send + 'static>(&self, question: impl FnOnce(View<'_>) -> R + Send + 'static) -> R {
        self.driver.call(move |engine, _, _| question(engine.view())).await.unwrap()
    }

    /// Whether everything that this person wrote is known to have arrived.
    pub async fn is_answered(&self) -> bool {
        let sent = self.sent.lock().unwrap().clone();
        self.ask(move |view| {
            sent.iter().all(|(message, _)| {
                let state = view.status(*message, now()).unwrap().unwrap().state;
                matches!(state, DeliveryState::Delivered | DeliveryState::Read)
            })
        })
        .await
    }

    pub async fn reconnect(&self) {
        self.driver.connect().await.unwrap();
    }

    /// Writes down what this person was told and what the chats look like now.
    pub async fn testify(&self) {
        let sent = self.sent.lock().unwrap().clone();
        let (device, witness) = (self.address, self.witness.clone());
        self.ask(move |view| {
            for (message, _) in &sent {
                let status = view.status(*message, now()).unwrap().unwrap();
                if let Some(stamp) = status.stamp {
                    witness.note(Fact::Accepted {
                        envelope: None,
                        message: Some(*message),
                        resend: false,
                        sender: device,
                        to: Vec::new(),
                        stamp,
                    });
                }
            }
            for chat in view.chats().unwrap() {
                let history = view.history(chat.chat, u32::MAX, now()).unwrap();
                let lines =
                    history.iter().map(|line| Line { message: line.message_id, stamp: line.stamp }).collect();
                witness.note(Fact::View { device, chat: chat.chat, lines, gaps: 0 });
            }
        })
        .await;
    }

    pub async fn texts_with(&self, other: &Person) -> Vec<String> {
        let chat = other.address.account;
        self.ask(move |view| {
            view.history(chat.into(), u32::MAX, now())
                .unwrap()
                .into_iter()
                .map(|message| message.text)
                .collect()
        })
        .await
    }
}

async fn ask(dialer: &Dialer, request: &HttpRequest) -> client::HttpAnswer {
    exchange(dialer, request).await.unwrap()
}

/// Reads every event as a person would: once, when it comes.
async fn watch(driver: Driver, device: DeviceAddress, witness: Witness) {
    let mut progress = driver.progress();
    let mut shown = BTreeSet::new();
    loop {
        let events = driver.call(|engine, _, _| {
            let events = engine.view().unprinted_events(500).unwrap();
            engine.mark_printed(&events.iter().map(|event| event.id).collect::<Vec<_>>()).unwrap();
            events
        });
        let Ok(events) = events.await else { return };
        let none = events.is_empty();
        for event in events {
            assert!(shown.insert(event.id), "an event was given twice");
            note(&witness, device, event.event);
        }
        if none {
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }
}

fn note(witness: &Witness, device: DeviceAddress, event: EventView) {
    match event {
        EventView::Message(message) => witness.note(Fact::Shown {
            device,
            message: message.message_id,
            sender: DeviceAddress::new(message.sender.account, message.sender.device),
            stamp: message.stamp.unwrap(),
            body: digest::of(message.text.as_bytes()),
        }),
        EventView::Receipt { kind, message_ids, from } => {
            let kind = match kind {
                client::ReceiptKind::Delivered => ReceiptKind::Delivered,
                client::ReceiptKind::Read => ReceiptKind::Read,
            };
            for message in message_ids {
                witness.note(Fact::Receipt { device, message, from, kind });
            }
        }
        EventView::Gap { permanent, .. } => assert!(!permanent, "a message is missing for good"),
        other => panic!("an honest server gives no cause for {other:?}"),
    }
}

/// Waits until everybody knows that everything arrived; faults must have ended.
pub async fn settle(people: &[Person], witness: &Witness) {
    witness.note(Fact::FaultsEnded);
    let patience = tokio::time::Instant::now() + Duration::from_secs(180);
    loop {
        let mut answered = true;
        for person in people {
            answered &= person.is_answered().await;
        }
        if answered {
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "messages are still under way:\n{}", witness.judge());
        for person in people {
            person.reconnect().await;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // What was just shown is written down by the watchers within their next turn.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for person in people {
        person.testify().await;
    }
}
