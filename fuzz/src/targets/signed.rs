//! Device lists, certificates, group operations: as they arrive, and with bytes inside that an attacker signed, since
//! whoever has an account can sign anything with its keys.

use crate::{
    Outcome, Sample, Target,
    people::{NOW, Person, person, rng, unwrap_signed},
};
use signed::{
    DeviceCertificate, DeviceList, GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId, Permissions},
};
use std::collections::BTreeSet;
use types::RegistrationId;

/// Signatures are slow to check, so there are fewer runs.
const SHORT_RUNS: u32 = 3_000;
/// A little over the limit of a device list.
const LIST_BYTES_MAX: usize = 17 * 1024;
/// A little over the limit of a group operation.
const OPERATION_BYTES_MAX: usize = 33 * 1024;

/// A device list as it arrives.
pub(super) const DEVICE_LIST: Target = Target {
    name: "signed_device_list",
    run: verify_list,
    samples: lists,
    short_runs: SHORT_RUNS,
    input_bytes_max: LIST_BYTES_MAX,
};

/// The inside of a device list whose signature is right.
pub(super) const DEVICE_LIST_INSIDE: Target = Target {
    name: "signed_device_list_inside",
    run: |bytes| verify_list(&owner().sign_list_bytes(bytes)),
    samples: || inside(lists()),
    short_runs: SHORT_RUNS,
    input_bytes_max: LIST_BYTES_MAX,
};

/// A device certificate as it arrives.
pub(super) const CERTIFICATE: Target = Target {
    name: "signed_certificate",
    run: verify_certificate,
    samples: certificates,
    short_runs: SHORT_RUNS,
    input_bytes_max: 1_024,
};

/// The inside of a device certificate whose signature is right.
pub(super) const CERTIFICATE_INSIDE: Target = Target {
    name: "signed_certificate_inside",
    run: |bytes| verify_certificate(&owner().sign_certificate_bytes(bytes)),
    samples: || inside(certificates()),
    short_runs: SHORT_RUNS,
    input_bytes_max: 1_024,
};

/// A group operation as it arrives.
pub(super) const GROUP_OPERATION: Target = Target {
    name: "signed_group_operation",
    run: verify_operation,
    samples: operations,
    short_runs: SHORT_RUNS,
    input_bytes_max: OPERATION_BYTES_MAX,
};

/// The inside of a group operation whose signature is right, applied to a group.
pub(super) const GROUP_OPERATION_INSIDE: Target = Target {
    name: "signed_group_operation_inside",
    run: |bytes| verify_operation(&owner().sign_operation_bytes(bytes)),
    samples: || inside(operations()),
    short_runs: SHORT_RUNS,
    input_bytes_max: OPERATION_BYTES_MAX,
};

fn owner() -> Person {
    person(1)
}

fn verify_list(bytes: &[u8]) -> Outcome {
    let read = DeviceList::verify(bytes);
    if let Ok(list) = &read {
        assert_eq!(list.as_bytes(), bytes, "signed bytes are carried as they came");
        assert!(
            list.devices().is_sorted_by_key(|device| device.number()),
            "devices stand by ascending number"
        );
        assert!(list.mailboxes().count() == list.devices().len(), "every device has a mailbox");
        assert!(list.successor_of(list).is_ok(), "a list may stand where it stands");
    }
    Outcome::of(&read)
}

fn verify_certificate(bytes: &[u8]) -> Outcome {
    let key = owner().account.public();
    let read = DeviceCertificate::verify(bytes, &key);
    if let Ok(certificate) = &read {
        assert_eq!(certificate.as_bytes(), bytes, "signed bytes are carried as they came");
        assert_eq!(
            certificate.account(),
            owner().id(),
            "no certificate is for another account than its key's"
        );
    }
    Outcome::of(&read)
}

fn verify_operation(bytes: &[u8]) -> Outcome {
    let read = SignedOperation::verify(bytes);
    let Ok(operation) = &read else { return Outcome::of(&read) };
    assert_eq!(operation.as_bytes(), bytes, "signed bytes are carried as they came");
    let after = match operation.change() {
        GroupChange::Create { .. } => GroupState::found(operation),
        _ => group().apply(operation),
    };
    if let Ok(state) = &after {
        assert_eq!(state.head(), operation.hash(), "the head is the newest operation");
        assert_eq!(state.apply(operation).as_ref(), Ok(state), "applied twice is applied once");
        let group = types::GroupId::from_slice(state.id().as_bytes()).expect("a group id has 16 bytes");
        assert_eq!(group, operation.group(), "an operation changes no other group");
    }
    Outcome::of(&after)
}

/// What is inside the wrappers of samples.
fn inside(samples: Vec<Sample>) -> Vec<Sample> {
    samples.into_iter().map(|sample| Sample::new(sample.name, unwrap_signed(&sample.bytes))).collect()
}

fn lists() -> Vec<Sample> {
    let registration = RegistrationId::new(300).expect("a registration id is at most 16,380");
    let identity = *seal::IdentityKeyPair::generate(&mut rng(5)).public();
    let list = |devices| owner().list(devices, registration, identity).as_bytes().to_vec();
    vec![Sample::new("one_device", list(1)), Sample::new("five_devices", list(5))]
}

fn certificates() -> Vec<Sample> {
    vec![Sample::new("primary", owner().certificate().as_bytes())]
}

fn group() -> GroupState {
    GroupState::found(&create()).expect("the first operation founds the group")
}

fn create() -> SignedOperation {
    let members = BTreeSet::from([person(2).id(), person(3).id()]);
    let permissions = Permissions { members_add: true, ..Permissions::default() };
    draft(None, 0, GroupChange::Create { members, sealed_info: b"sealed".to_vec(), permissions })
}

fn operations() -> Vec<Sample> {
    let link = signed::keys::LinkSecret::random(&mut rng(6)).public();
    let some = |seed| BTreeSet::from([person(seed).id()]);
    let changes = [
        ("add", GroupChange::Add(some(4))),
        ("remove", GroupChange::Remove(some(2))),
        ("promote", GroupChange::Promote(some(2))),
        ("set_info", GroupChange::SetInfo(b"sealed again".to_vec())),
        ("set_permissions", GroupChange::SetPermissions(Permissions::default())),
        ("set_invite_link", GroupChange::SetInviteLink(Some(link))),
        ("set_timer", GroupChange::SetTimer(86_400)),
    ];
    let follows = Some(group().follows());
    let follow_ups = changes
        .into_iter()
        .zip(1..)
        .map(|((name, change), id)| Sample::new(name, draft(follows, id, change).as_bytes()));
    [Sample::new("create", create().as_bytes())].into_iter().chain(follow_ups).collect()
}

fn draft(follows: Option<(types::GroupId, u64, [u8; 32])>, id: u8, change: GroupChange) -> SignedOperation {
    let owner = owner();
    let draft = OperationDraft {
        follows,
        id: OperationId([id; 16]),
        actor_key: owner.account.public(),
        certificate: owner.certificate(),
        at: NOW,
        change,
    };
    draft.sign(&owner.device).expect("the operation keeps the rules of one")
}
