//! Linking: what a new device offers, the code that it shows, and the messages after it; as they arrive, and with
//! bodies that somebody sealed who has the code and keeps to nothing.

use crate::{
    Outcome, Sample, Target,
    people::{NOW, Person, person, rng},
    targets::sealed,
};
use prost::Message;
use seal::{
    DeviceSecrets, SyncKey,
    link::{Completion, Invitation, InvitedDevice, LinkCode, LinkError, LinkOffer, NewDevice, Primary},
    names::DeviceName,
};
use signed::{DeviceCertificate, DeviceListDraft, DeviceSecret, ListedDevice};
use std::sync::OnceLock;
use types::{DeviceNumber, PhoneNumber, RegistrationId};

/// What a new device offers.
pub(super) const OFFER: Target = Target {
    name: "signed_link_offer",
    run: |bytes| {
        let read = LinkOffer::decode(bytes);
        if let Ok(offer) = &read {
            assert_eq!(offer.as_bytes(), bytes, "the bytes that the code commits to stay as they came");
            let made = LinkOffer::new(
                *offer.identity_key(),
                *offer.device_key(),
                offer.registration(),
                *offer.ephemeral_key(),
                *offer.nonce_commitment(),
            );
            assert!(LinkOffer::decode(made.as_bytes()).is_ok(), "what was read can be offered");
        }
        Outcome::of(&read)
    },
    samples: || vec![Sample::new("honest", scene().new_device.offer().as_bytes())],
    short_runs: 3_000,
    input_bytes_max: 2 * 1024,
};

/// The text that a new device shows.
pub(super) const CODE: Target = Target {
    name: "seal_link_code",
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not UTF-8".to_owned()) };
        let read = text.parse::<LinkCode>();
        if let Ok(code) = &read {
            let again = code.to_string().parse::<LinkCode>();
            assert!(again.is_ok_and(|again| again == *code), "a code is read as it is shown");
        }
        Outcome::of(&read)
    },
    samples: || vec![Sample::new("shown", scene().new_device.code().to_string())],
    short_runs: 20_000,
    input_bytes_max: 256,
};

/// An invitation, an answer or a completion as it arrives; the first byte says which.
pub(super) const MESSAGE: Target = Target {
    name: "seal_link_message",
    run: |bytes| {
        let Some((which, message)) = read_input(bytes) else { return Outcome::Refused("empty".to_owned()) };
        Outcome::of(&receive(which, message))
    },
    samples: || messages().map(|(name, which, message)| input(name, which, &message)).to_vec(),
    short_runs: 3_000,
    input_bytes_max: 4 * 1024,
};

/// The same with any body under the right keys.
pub(super) const BODY: Target = Target {
    name: "seal_link_body",
    run: |bytes| {
        let Some((which, body)) = read_input(bytes) else { return Outcome::Refused("empty".to_owned()) };
        Outcome::of(&receive(which, &seal_body(which, body)))
    },
    samples: || {
        messages().map(|(name, which, message)| input(name, which, &open_body(which, &message))).to_vec()
    },
    short_runs: 3_000,
    input_bytes_max: 4 * 1024,
};

/// What a side keeps between two steps, as it comes back from a disk; the first byte says which side.
pub(super) const STATE: Target = Target {
    name: "seal_link_state",
    run: read_state,
    samples: || {
        let scene = scene();
        vec![
            input("new_device", Which::Invitation, &scene.new_device.to_bytes()),
            input("primary", Which::Answer, &scene.primary.to_bytes()),
            input("invited_device", Which::Completion, &scene.invited.to_bytes()),
        ]
    },
    short_runs: 5_000,
    input_bytes_max: 2 * 1024,
};

/// The message, or the state of the side that waits for it.
#[derive(Clone, Copy)]
enum Which {
    Invitation = 0,
    Answer = 1,
    Completion = 2,
}

fn input(name: &str, which: Which, bytes: &[u8]) -> Sample {
    Sample::new(name, [&[which as u8], bytes].concat())
}

fn read_input(bytes: &[u8]) -> Option<(Which, &[u8])> {
    let (tag, bytes) = bytes.split_first()?;
    Some(([Which::Invitation, Which::Answer, Which::Completion][usize::from(tag % 3)], bytes))
}

// ---- running

fn receive(which: Which, message: &[u8]) -> Result<(), LinkError> {
    let scene = scene();
    match which {
        Which::Invitation => {
            let invited = scene.new_device.accept(message, &scene.device, &scene.name, &mut rng(82))?;
            assert_eq!(invited.digits().to_string().len(), 6, "there are six digits");
            InvitedDevice::from_slice(&invited.to_bytes()).expect("what was accepted can be kept");
        }
        Which::Answer => {
            let candidate = scene.primary.open_answer(message)?;
            let listed = scene.listed();
            assert_eq!(candidate.listed, listed, "the primary lists the device that made the offer");
            assert_eq!(candidate.digits, scene.invited.digits(), "no answer moves the digits");
        }
        Which::Completion => {
            let completion = scene.invited.complete(message)?;
            let listed = completion.list.device(scene.invited.invitation().device);
            assert_eq!(listed, Some(&scene.listed()), "nobody else takes this device's place");
        }
    }
    Ok(())
}

fn read_state(bytes: &[u8]) -> Outcome {
    let Some((which, bytes)) = read_input(bytes) else { return Outcome::Refused("empty".to_owned()) };
    let new_device = |bytes: &[u8]| NewDevice::from_slice(bytes).ok().map(|state| state.to_bytes().to_vec());
    let primary = |bytes: &[u8]| Primary::from_slice(bytes).ok().map(|state| state.to_bytes().to_vec());
    let invited = |bytes: &[u8]| InvitedDevice::from_slice(bytes).ok().map(|state| state.to_bytes().to_vec());
    let read: &dyn Fn(&[u8]) -> Option<Vec<u8>> = match which {
        Which::Invitation => &new_device,
        Which::Answer => &primary,
        Which::Completion => &invited,
    };
    match read(bytes) {
        Some(kept) => {
            assert_eq!(read(&kept), Some(kept), "one state has one form");
            Outcome::Accepted
        }
        None => Outcome::Refused("not a state".to_owned()),
    }
}

// ---- bodies under the right keys

/// All three messages begin or end with the sealed body; an invitation has a key before it.
#[derive(Clone, PartialEq, Message)]
struct InvitationForm {
    #[prost(bytes = "vec", tag = "1")]
    ephemeral_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    sealed: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct OtherForm {
    #[prost(bytes = "vec", tag = "1")]
    sealed: Vec<u8>,
}

/// The keys in what a primary keeps.
#[derive(Clone, PartialEq, Message)]
struct KeptForm {
    #[prost(bytes = "vec", tag = "6")]
    keys: Vec<u8>,
}

fn key(which: Which) -> [u8; 32] {
    let kept =
        KeptForm::decode(scene().primary.to_bytes().as_slice()).expect("a state of ours is well formed");
    let keys = kept.keys.get(32 * which as usize..).and_then(|keys| keys.first_chunk());
    *keys.expect("a primary keeps three keys")
}

fn seal_body(which: Which, body: &[u8]) -> Vec<u8> {
    let scene = scene();
    let sealed = sealed::seal_any(&key(which), scene.new_device.link().as_bytes(), body);
    match which {
        Which::Invitation => {
            let honest = InvitationForm::decode(scene.primary.message()).expect("ours is well formed");
            InvitationForm { sealed, ..honest }.encode_to_vec()
        }
        Which::Answer | Which::Completion => OtherForm { sealed }.encode_to_vec(),
    }
}

fn open_body(which: Which, message: &[u8]) -> Vec<u8> {
    let sealed = match which {
        Which::Invitation => InvitationForm::decode(message).expect("ours is well formed").sealed,
        Which::Answer | Which::Completion => OtherForm::decode(message).expect("ours is well formed").sealed,
    };
    sealed::open_any(&key(which), scene().new_device.link().as_bytes(), &sealed)
}

// ---- people

/// An account that links a device, after every step.
struct Scene {
    account: Person,
    device: DeviceSecrets,
    name: DeviceName,
    new_device: NewDevice,
    primary: Primary,
    invited: InvitedDevice,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let mut rng = rng(80);
        let account = person(1);
        let device = DeviceSecrets::generate(&mut rng);
        let name: DeviceName = "Laptop".parse().expect("it is a name");
        let new_device = NewDevice::begin(&device, &mut rng);
        let phone: PhoneNumber = "+15552000100".parse().expect("it is a number");
        let invitation = Invitation { account_key: account.account.public(), device: second(), phone };
        let (code, offer) = (new_device.code(), new_device.offer().as_bytes());
        let primary = Primary::invite(&code, offer, invitation, &mut rng).expect("the offer is honest");
        let invited = new_device.accept(primary.message(), &device, &name, &mut rng);
        let invited = invited.expect("the invitation is honest");
        Scene { account, device, name, new_device, primary, invited }
    })
}

impl Scene {
    /// The new device's entry, as it signs it.
    fn listed(&self) -> ListedDevice {
        let secret = DeviceSecret::from_bytes(self.device.device_key_seed.expose());
        let identity = *self.device.identity.public();
        ListedDevice::sign(self.account.id(), second(), self.device.registration, identity, &secret)
    }

    fn completion(&self) -> Completion {
        let registration = RegistrationId::new(7).expect("it is in range");
        let identity = *seal::IdentityKeyPair::generate(&mut rng(81)).public();
        let primary = self.account.list(1, registration, identity).devices().to_vec();
        let devices = [primary, vec![self.listed()]].concat();
        let draft = DeviceListDraft { version: 2, issued_at: NOW, devices, sealed_names: Vec::new() };
        let list = draft.sign(&self.account.account).expect("the list keeps the rules of a list");
        let key = *self.listed().device_key();
        let certificate = DeviceCertificate::sign(&self.account.account, second(), key);
        Completion { list, certificate, sync_key: SyncKey::random(&mut rng(83)) }
    }
}

fn second() -> DeviceNumber {
    DeviceNumber::new(2).expect("2 is a device number")
}

fn messages() -> [(&'static str, Which, Vec<u8>); 3] {
    let scene = scene();
    let completion = scene.primary.complete(&scene.completion(), &mut rng(84)).expect("it lists the device");
    [
        ("invitation", Which::Invitation, scene.primary.message().to_vec()),
        ("answer", Which::Answer, scene.invited.answer().to_vec()),
        ("completion", Which::Completion, completion),
    ]
}
