use crate::fixtures::{Person, UNKNOWN_FIELD, person, raw_signature};
use expect_test::expect;
use proptest::prelude::*;
use prost::Message;
use signed::{
    CertificateError, ChainError, DeviceCertificate, GroupChange, GroupState, OperationError,
    SignedOperation,
    group::{
        GROUP_OPERATION_BYTES_MAX, OPERATIONS_REMEMBERED, OperationDraft, OperationId, Permissions, Role,
        SEALED_INFO_BYTES_MAX, join_signature,
    },
    keys::LinkSecret,
    proto,
};
use std::collections::BTreeSet;
use types::{AccountId, DeviceNumber, Timestamp, limits::GROUP_MEMBERS_MAX};

const ALICE: u16 = 1;
const BOB: u16 = 2;
const CAROL: u16 = 3;
const DAVE: u16 = 4;

fn accounts(seeds: &[u16]) -> BTreeSet<AccountId> {
    seeds.iter().map(|seed| person(*seed).id()).collect()
}

fn draft(actor: &Person, state: Option<&GroupState>, id: u8, change: GroupChange) -> OperationDraft {
    OperationDraft {
        follows: state.map(GroupState::follows),
        id: OperationId([id; 16]),
        actor_key: actor.account.public(),
        certificate: actor.certificate(),
        at: Timestamp::from_millis(1_795_000_000_000),
        change,
    }
}

fn sign(actor: u16, state: &GroupState, change: GroupChange) -> SignedOperation {
    let actor = person(actor);
    // A fresh id for every epoch, as an honest device draws it.
    let id = (state.epoch() % 250) as u8 + 1;
    draft(&actor, Some(state), id, change).sign(&actor.device).unwrap()
}

fn act(actor: u16, state: &GroupState, change: GroupChange) -> Result<GroupState, ChainError> {
    state.apply(&sign(actor, state, change))
}

fn creation(members: &[u16]) -> SignedOperation {
    let change = GroupChange::Create {
        members: accounts(members),
        sealed_info: b"sealed".to_vec(),
        permissions: Permissions::default(),
    };
    draft(&person(ALICE), None, 0, change).sign(&person(ALICE).device).unwrap()
}

/// Alice's group of Alice (creator), Bob (admin), Carol and whoever else is named as members.
fn group_of(others: &[u16]) -> GroupState {
    let members = [&[BOB, CAROL][..], others].concat();
    let state = GroupState::found(&creation(&members)).unwrap();
    act(ALICE, &state, GroupChange::Promote(accounts(&[BOB]))).unwrap()
}

fn group() -> GroupState {
    group_of(&[])
}

fn role(state: &GroupState, seed: u16) -> Option<Role> {
    state.members().get(&person(seed).id()).copied()
}

#[test]
fn a_chain_begins_with_create() {
    let create = creation(&[BOB, CAROL]);
    let state = GroupState::found(&create).unwrap();
    assert_eq!((state.epoch(), state.head(), state.id()), (0, create.hash(), create.group()));
    assert_eq!(create.group().as_bytes()[..], create.hash()[..16]);
    assert_eq!(role(&state, ALICE), Some(Role::Creator));
    assert_eq!(role(&state, BOB), Some(Role::Member));
    assert_eq!(state.sealed_info(), b"sealed");
    let follower = sign(ALICE, &state, GroupChange::Leave);
    assert_eq!(GroupState::found(&follower), Err(ChainError::NotTheBeginning));
}

#[test]
fn the_bytes_are_fixed() {
    expect!["0aea012210000000000000000000000000000000002a104b735738f1fc2f9cbf98e1f6d12a6d7b30013a2035f78f12be0637bf278a6ed27c140922016870f79164910cfcc54d994eaf942b427a0a360a104b735738f1fc2f9cbf98e1f6d12a6d7b10011a205ff2a7c4f7d53f31424aae7ee46fb5149ea984cbf5ff346e2373609b143fe1f812409913cebab41067f9c61c4d643a34a3ceb1cae2c3b4ac80d9d1259c953692925b83fefd0b958aba4e7e9863e5e37287bce4150fc6fd6f19bac124235ed947da0d4880bcd9f29e3482011c0a10d9cb8b0ae83af2ac1095c1955acad61712067365616c65641a0012409a3cbc7c20c246807c963570635ca3c4c14fb4739249dacbe87b18994ddebb16ef91a6c38f14e875d56672ec1254c68ab1321a75bd50e7286edede2f7d1c9005"].assert_eq(&hex::encode(creation(&[BOB]).as_bytes()));
    let state = GroupState::found(&creation(&[BOB])).unwrap();
    expect!["0a86020a10c3a7b862c7797f4d32a91df9d7dc951610011a20c3a7b862c7797f4d32a91df9d7dc951643583b80d6348a3b5a481802898719d62210010101010101010101010101010101012a104b735738f1fc2f9cbf98e1f6d12a6d7b30013a2035f78f12be0637bf278a6ed27c140922016870f79164910cfcc54d994eaf942b427a0a360a104b735738f1fc2f9cbf98e1f6d12a6d7b10011a205ff2a7c4f7d53f31424aae7ee46fb5149ea984cbf5ff346e2373609b143fe1f812409913cebab41067f9c61c4d643a34a3ceb1cae2c3b4ac80d9d1259c953692925b83fefd0b958aba4e7e9863e5e37287bce4150fc6fd6f19bac124235ed947da0d4880bcd9f29e34d20102083c1240570531bb51a4ab104eb60f98e13028432cc740b6fd8581e2938095f825083df3293e20c0e5ef598f94edca9e13faca588a57cf8a297a2a2a6eb53934dbb6690a"].assert_eq(&hex::encode(sign(ALICE, &state, GroupChange::SetTimer(60)).as_bytes()));
}

#[test]
fn the_creator_is_not_among_the_first_members() {
    assert_eq!(GroupState::found(&creation(&[ALICE])), Err(ChainError::WrongTarget));
}

#[test]
fn a_group_holds_1024_members_and_no_more() {
    let others: Vec<u16> = (100..100 + GROUP_MEMBERS_MAX as u16).collect();
    assert_eq!(GroupState::found(&creation(&others)), Err(ChainError::TooManyMembers));
    let full = GroupState::found(&creation(&others[1..])).unwrap();
    assert_eq!(full.members().len(), GROUP_MEMBERS_MAX);
    assert_eq!(act(ALICE, &full, GroupChange::Add(accounts(&[BOB]))), Err(ChainError::TooManyMembers));
    let link = LinkSecret::from_bytes(&[7; 32]);
    let open = act(ALICE, &full, GroupChange::SetInviteLink(Some(link.public()))).unwrap();
    let join = GroupChange::Join(join_signature(&link, open.id(), person(BOB).id()));
    assert_eq!(act(BOB, &open, join), Err(ChainError::TooManyMembers));
}

#[test]
fn members_come_and_go() {
    let state = act(BOB, &group(), GroupChange::Add(accounts(&[DAVE]))).unwrap();
    assert_eq!(role(&state, DAVE), Some(Role::Member));
    let state = act(BOB, &state, GroupChange::Remove(accounts(&[DAVE, CAROL]))).unwrap();
    assert_eq!((role(&state, DAVE), role(&state, CAROL)), (None, None));
    let state = act(BOB, &state, GroupChange::Leave).unwrap();
    assert_eq!(role(&state, BOB), None);
}

#[test]
fn who_is_not_a_member_does_nothing() {
    let changes = [
        GroupChange::Add(accounts(&[DAVE])),
        GroupChange::Remove(accounts(&[CAROL])),
        GroupChange::Leave,
        GroupChange::Promote(accounts(&[CAROL])),
        GroupChange::Demote(accounts(&[BOB])),
        GroupChange::SetInfo(vec![]),
        GroupChange::SetPermissions(Permissions::default()),
        GroupChange::SetInviteLink(None),
        GroupChange::SetTimer(1),
    ];
    let removed = act(ALICE, &group_of(&[DAVE]), GroupChange::Remove(accounts(&[DAVE]))).unwrap();
    for change in changes {
        assert_eq!(act(DAVE, &removed, change.clone()), Err(ChainError::NotAMember), "{change:?}");
    }
}

#[test]
fn plain_members_do_only_what_the_permissions_allow() {
    let state = group();
    let admin_only = [
        GroupChange::Remove(accounts(&[BOB])),
        GroupChange::Promote(accounts(&[CAROL])),
        GroupChange::Demote(accounts(&[BOB])),
        GroupChange::SetPermissions(Permissions::default()),
        GroupChange::SetInviteLink(None),
    ];
    let permitted =
        [GroupChange::Add(accounts(&[DAVE])), GroupChange::SetInfo(vec![1]), GroupChange::SetTimer(9)];
    for change in admin_only.iter().chain(&permitted) {
        assert_eq!(act(CAROL, &state, change.clone()), Err(ChainError::NotAllowed), "{change:?}");
    }
    let all = Permissions { members_add: true, members_set_info: true, admins_send: false };
    let open = act(ALICE, &state, GroupChange::SetPermissions(all)).unwrap();
    for change in admin_only {
        assert_eq!(act(CAROL, &open, change.clone()), Err(ChainError::NotAllowed), "{change:?}");
    }
    for change in permitted {
        assert!(act(CAROL, &open, change).is_ok());
    }
    let adding = Permissions { members_add: true, ..Permissions::default() };
    let adding = act(ALICE, &state, GroupChange::SetPermissions(adding)).unwrap();
    assert_eq!(act(CAROL, &adding, GroupChange::SetInfo(vec![])), Err(ChainError::NotAllowed));
    let describing = Permissions { members_set_info: true, ..Permissions::default() };
    let describing = act(ALICE, &state, GroupChange::SetPermissions(describing)).unwrap();
    assert_eq!(act(CAROL, &describing, GroupChange::Add(accounts(&[DAVE]))), Err(ChainError::NotAllowed));
}

#[test]
fn changes_fit_the_members_they_name() {
    let state = group();
    let misfits = [
        GroupChange::Add(accounts(&[CAROL])),
        GroupChange::Add(accounts(&[BOB])),
        GroupChange::Remove(accounts(&[DAVE])),
        GroupChange::Remove(accounts(&[BOB])),
        GroupChange::Promote(accounts(&[DAVE])),
        GroupChange::Promote(accounts(&[BOB])),
        GroupChange::Promote(accounts(&[ALICE])),
        GroupChange::Demote(accounts(&[CAROL])),
        GroupChange::Demote(accounts(&[DAVE])),
    ];
    for change in misfits {
        assert_eq!(act(BOB, &state, change.clone()), Err(ChainError::WrongTarget), "{change:?}");
    }
    assert_eq!(role(&state, BOB), Some(Role::Admin), "an added admin keeps the role it had");
}

#[test]
fn the_creator_is_safe_from_other_admins() {
    let state = group();
    assert_eq!(act(BOB, &state, GroupChange::Remove(accounts(&[ALICE]))), Err(ChainError::NotAllowed));
    assert_eq!(act(BOB, &state, GroupChange::Demote(accounts(&[ALICE]))), Err(ChainError::NotAllowed));
    let resigned = act(ALICE, &state, GroupChange::Demote(accounts(&[ALICE]))).unwrap();
    assert_eq!(role(&resigned, ALICE), Some(Role::Member));
    assert!(act(ALICE, &state, GroupChange::Demote(accounts(&[BOB]))).is_ok());
}

#[test]
fn a_group_always_has_an_admin_unless_it_is_over() {
    let state = act(ALICE, &group(), GroupChange::Leave).unwrap();
    assert_eq!(act(BOB, &state, GroupChange::Leave), Err(ChainError::LastAdmin));
    assert_eq!(act(BOB, &state, GroupChange::Demote(accounts(&[BOB]))), Err(ChainError::LastAdmin));
    let shared = act(BOB, &state, GroupChange::Promote(accounts(&[CAROL]))).unwrap();
    assert!(act(BOB, &shared, GroupChange::Leave).is_ok());

    let link = LinkSecret::from_bytes(&[7; 32]);
    let alone = act(BOB, &state, GroupChange::Remove(accounts(&[CAROL]))).unwrap();
    let alone = act(BOB, &alone, GroupChange::SetInviteLink(Some(link.public()))).unwrap();
    let over = act(BOB, &alone, GroupChange::Leave).unwrap();
    assert!(over.members().is_empty());
    let join = GroupChange::Join(join_signature(&link, over.id(), person(DAVE).id()));
    assert_eq!(act(DAVE, &over, join), Err(ChainError::BadLink));
}

#[test]
fn the_invite_link_lets_in_who_was_given_it() {
    let (link, other) = (LinkSecret::from_bytes(&[7; 32]), LinkSecret::from_bytes(&[8; 32]));
    let closed = group();
    let open = act(ALICE, &closed, GroupChange::SetInviteLink(Some(link.public()))).unwrap();
    let join = |secret: &LinkSecret, account: u16| {
        GroupChange::Join(join_signature(secret, open.id(), person(account).id()))
    };
    let joined = act(DAVE, &open, join(&link, DAVE)).unwrap();
    assert_eq!(role(&joined, DAVE), Some(Role::Member));
    assert_eq!(act(DAVE, &closed, join(&link, DAVE)), Err(ChainError::BadLink));
    assert_eq!(act(DAVE, &open, join(&other, DAVE)), Err(ChainError::BadLink));
    assert_eq!(act(DAVE, &open, join(&link, CAROL)), Err(ChainError::BadLink), "somebody else's signature");
    assert_eq!(act(CAROL, &open, join(&link, CAROL)), Err(ChainError::WrongTarget), "a member already");
    let elsewhere = GroupChange::Join(join_signature(&link, creation(&[]).group(), person(DAVE).id()));
    assert_eq!(act(DAVE, &open, elsewhere), Err(ChainError::BadLink), "a signature for another group");
    let revoked = act(ALICE, &open, GroupChange::SetInviteLink(None)).unwrap();
    assert_eq!(act(DAVE, &revoked, join(&link, DAVE)), Err(ChainError::BadLink));
}

#[test]
fn who_may_send() {
    let state = group();
    assert!(state.may_send(person(CAROL).id()) && !state.may_send(person(DAVE).id()));
    let quiet = Permissions { admins_send: true, ..Permissions::default() };
    let quiet = act(ALICE, &state, GroupChange::SetPermissions(quiet)).unwrap();
    assert!(quiet.may_send(person(ALICE).id()) && quiet.may_send(person(BOB).id()));
    assert!(!quiet.may_send(person(CAROL).id()));
}

#[test]
fn info_permissions_and_timer_are_replaced() {
    let state = act(ALICE, &group(), GroupChange::SetInfo(b"new".to_vec())).unwrap();
    let state = act(BOB, &state, GroupChange::SetTimer(604_800)).unwrap();
    assert_eq!((state.sealed_info(), state.timer_seconds()), (&b"new"[..], 604_800));
}

#[test]
fn only_the_next_operation_on_this_head_extends_the_chain() {
    let base = group();
    let (bobs, alices) =
        (sign(BOB, &base, GroupChange::SetTimer(1)), sign(ALICE, &base, GroupChange::SetTimer(2)));
    let next = base.apply(&bobs).unwrap();
    assert_eq!((next.epoch(), next.head()), (base.epoch() + 1, bobs.hash()));
    // The very same again, now or later, changes nothing.
    assert_eq!(next.apply(&bobs).unwrap(), next);
    let later = act(BOB, &next, GroupChange::SetTimer(3)).unwrap();
    assert_eq!(later.apply(&bobs).unwrap(), later);
    // Another operation for a taken epoch carries another id, unless it is the same wish again.
    let actor = person(ALICE);
    let rival = draft(&actor, Some(&base), 99, GroupChange::SetTimer(2)).sign(&actor.device).unwrap();
    assert_eq!(next.apply(&rival), Err(ChainError::Fork));
    assert_eq!(next.apply(&alices), Err(ChainError::AlreadyApplied));
    // A gap, another head, another group.
    let after_later = sign(BOB, &later, GroupChange::SetTimer(4));
    assert_eq!(next.apply(&after_later), Err(ChainError::Ahead));
    let other_branch = base.apply(&rival).unwrap();
    assert_eq!(next.apply(&sign(BOB, &other_branch, GroupChange::SetTimer(5))), Err(ChainError::Fork));
    let stranger = GroupState::found(&creation(&[BOB])).unwrap();
    assert_eq!(next.apply(&sign(ALICE, &stranger, GroupChange::SetTimer(1))), Err(ChainError::OtherGroup));
    assert_eq!(next.apply(&creation(&[BOB])), Err(ChainError::OtherGroup));
    assert_eq!(next.apply(&creation(&[BOB, CAROL])).unwrap(), next, "its own create is a repeat");
}

#[test]
fn a_wish_that_was_signed_again_after_an_unknown_outcome_happens_once() {
    let base = group();
    let actor = person(BOB);
    let wish = |state: &GroupState| {
        draft(&actor, Some(state), 77, GroupChange::Add(accounts(&[DAVE]))).sign(&actor.device).unwrap()
    };
    let applied = base.apply(&wish(&base)).unwrap();
    assert_eq!(applied.apply(&wish(&applied)), Err(ChainError::AlreadyApplied));
    let removed = act(ALICE, &applied, GroupChange::Remove(accounts(&[DAVE]))).unwrap();
    assert_eq!(removed.apply(&wish(&removed)), Err(ChainError::AlreadyApplied));
}

#[test]
fn what_is_older_than_the_memory_is_not_taken_for_a_repeat() {
    let mut state = group();
    let first = sign(BOB, &state, GroupChange::SetTimer(0));
    for round in 0..OPERATIONS_REMEMBERED as u32 {
        let actor = person(BOB);
        let mut operation = draft(&actor, Some(&state), 0, GroupChange::SetTimer(round));
        operation.id = OperationId(u128::from(round + 1_000).to_be_bytes());
        state = state.apply(&operation.sign(&actor.device).unwrap()).unwrap();
    }
    assert_eq!(state.apply(&creation(&[BOB, CAROL])), Err(ChainError::TooOld));
    assert_eq!(state.apply(&first), Err(ChainError::Fork));
}

// ---- what an operation's own bytes must be

fn forge(change: impl FnOnce(&mut proto::GroupOperation)) -> Result<SignedOperation, OperationError> {
    let honest = sign(BOB, &group(), GroupChange::SetTimer(60));
    let wrapper = proto::SignedGroupOperation::decode(honest.as_bytes()).unwrap();
    let mut raw = proto::GroupOperation::decode(&wrapper.operation[..]).unwrap();
    change(&mut raw);
    verify_signed(raw.encode_to_vec())
}

fn verify_signed(operation: Vec<u8>) -> Result<SignedOperation, OperationError> {
    let signature = raw_signature(&person(BOB).device.to_bytes(), "waxwing group operation v1", &operation);
    SignedOperation::verify(&proto::SignedGroupOperation { operation, signature }.encode_to_vec())
}

#[test]
fn every_field_of_an_operation_is_checked() {
    use OperationError::*;
    use proto::group_operation::Change;
    let member = || person(DAVE).id().as_bytes().to_vec();
    assert!(forge(|_| ()).is_ok(), "the control: an unchanged operation is accepted");
    assert_eq!(forge(|raw| raw.group.truncate(15)), Err(Malformed));
    assert_eq!(forge(|raw| raw.group.clear()), Err(Malformed));
    assert_eq!(forge(|raw| raw.epoch = 0), Err(Malformed));
    assert_eq!(forge(|raw| raw.previous.clear()), Err(Malformed));
    assert_eq!(forge(|raw| raw.previous.push(0)), Err(Malformed));
    assert_eq!(forge(|raw| raw.operation_id.clear()), Err(Malformed));
    assert_eq!(forge(|raw| raw.actor = person(ALICE).id().as_bytes().to_vec()), Err(WrongActor));
    assert_eq!(forge(|raw| raw.actor.clear()), Err(Malformed));
    assert_eq!(forge(|raw| raw.actor_device = 2), Err(WrongActor));
    assert_eq!(forge(|raw| raw.actor_device = 0), Err(Malformed));
    assert_eq!(
        forge(|raw| raw.actor_key = person(ALICE).account.public().as_bytes().to_vec()),
        Err(WrongActor)
    );
    assert_eq!(forge(|raw| raw.actor_key.clear()), Err(Malformed));
    assert_eq!(forge(|raw| raw.certificate.clear()), Err(Certificate(CertificateError::Malformed)));
    assert_eq!(
        forge(|raw| raw.certificate = person(ALICE).certificate().as_bytes().to_vec()),
        Err(Certificate(CertificateError::WrongAccount))
    );
    assert_eq!(forge(|raw| raw.change = None), Err(Malformed));
    assert_eq!(forge(|raw| raw.change = Some(Change::Create(proto::Create::default()))), Err(Malformed));
    for empty in [
        Change::Add(proto::Add::default()),
        Change::Remove(proto::Remove::default()),
        Change::Promote(proto::Promote::default()),
        Change::Demote(proto::Demote::default()),
        Change::Add(proto::Add { members: vec![member(), member()] }),
        Change::Add(proto::Add { members: vec![vec![1; 15]] }),
        Change::SetPermissions(proto::SetPermissions::default()),
        Change::SetInviteLink(proto::SetInviteLink { public_key: vec![0; 32] }),
        Change::SetInviteLink(proto::SetInviteLink { public_key: vec![1; 31] }),
        Change::Join(proto::Join { link_signature: vec![1; 63] }),
    ] {
        assert_eq!(forge(|raw| raw.change = Some(empty.clone())), Err(Malformed), "{empty:?}");
    }
    let info = |length| Some(Change::SetInfo(proto::SetInfo { sealed_info: vec![1; length] }));
    assert!(forge(|raw| raw.change = info(SEALED_INFO_BYTES_MAX)).is_ok());
    assert_eq!(forge(|raw| raw.change = info(SEALED_INFO_BYTES_MAX + 1)), Err(InfoTooLong));
    assert_eq!(forge(|raw| raw.change = info(GROUP_OPERATION_BYTES_MAX)), Err(TooLarge));
}

#[test]
fn only_the_certified_device_signs() {
    let honest = sign(BOB, &group(), GroupChange::SetTimer(60));
    let operation = proto::SignedGroupOperation::decode(honest.as_bytes()).unwrap().operation;
    let verify = |seed: &[u8; 32], label: &str| {
        let signature = raw_signature(seed, label, &operation);
        SignedOperation::verify(
            &proto::SignedGroupOperation { operation: operation.clone(), signature }.encode_to_vec(),
        )
    };
    assert!(verify(&person(BOB).device.to_bytes(), "waxwing group operation v1").is_ok());
    for (seed, label) in [
        (person(ALICE).device.to_bytes(), "waxwing group operation v1"),
        (person(BOB).account.to_bytes(), "waxwing group operation v1"),
        (person(BOB).device.to_bytes(), "waxwing session v1"),
    ] {
        assert_eq!(verify(&seed, label), Err(OperationError::BadSignature));
    }
}

#[test]
fn a_certificate_for_another_key_of_the_account_does_not_serve() {
    let actor = person(BOB);
    let other_key =
        DeviceCertificate::sign(&actor.account, DeviceNumber::PRIMARY, person(CAROL).device.public());
    let mut operation = draft(&actor, Some(&group()), 5, GroupChange::Leave);
    operation.certificate = other_key;
    assert_eq!(operation.sign(&actor.device), Err(OperationError::BadSignature));
}

#[test]
fn no_byte_of_an_operation_can_be_changed_and_nothing_be_added_outside() {
    let carried = sign(BOB, &group(), GroupChange::SetTimer(60)).as_bytes().to_vec();
    for at in 0..carried.len() {
        let mut changed = carried.clone();
        changed[at] ^= 1;
        assert!(SignedOperation::verify(&changed).is_err(), "byte {at}");
    }
    assert!(SignedOperation::verify(&[&carried[..], &UNKNOWN_FIELD].concat()).is_err());
}

#[test]
fn unknown_fields_inside_an_operation_survive() {
    let honest = sign(BOB, &group(), GroupChange::SetTimer(60));
    let wrapper = proto::SignedGroupOperation::decode(honest.as_bytes()).unwrap();
    let extended = verify_signed([&wrapper.operation[..], &UNKNOWN_FIELD].concat()).unwrap();
    assert_ne!(extended.hash(), honest.hash());
    assert_eq!(group().apply(&extended).unwrap().head(), extended.hash());
}

// ---- whatever people do

fn any_change() -> impl Strategy<Value = GroupChange> {
    let some = || {
        proptest::collection::btree_set(1..=6u16, 1..=3)
            .prop_map(|seeds| accounts(&seeds.into_iter().collect::<Vec<_>>()))
    };
    let permissions = any::<(bool, bool, bool)>().prop_map(|(members_add, members_set_info, admins_send)| {
        Permissions { members_add, members_set_info, admins_send }
    });
    let link = any::<bool>().prop_map(|set| set.then(|| LinkSecret::from_bytes(&[7; 32]).public()));
    prop_oneof![
        some().prop_map(GroupChange::Add),
        some().prop_map(GroupChange::Remove),
        Just(GroupChange::Leave),
        some().prop_map(GroupChange::Promote),
        some().prop_map(GroupChange::Demote),
        proptest::collection::vec(any::<u8>(), 0..50).prop_map(GroupChange::SetInfo),
        permissions.prop_map(GroupChange::SetPermissions),
        link.prop_map(GroupChange::SetInviteLink),
        any::<u32>().prop_map(GroupChange::SetTimer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_operation_is_read_as_it_was_signed(change in any_change(), at in any::<u64>(), id in any::<[u8; 16]>()) {
        let (actor, state) = (person(BOB), group());
        let mut operation = draft(&actor, Some(&state), 0, change.clone());
        (operation.at, operation.id) = (Timestamp::from_millis(at), OperationId(id));
        let read = SignedOperation::verify(operation.sign(&actor.device).unwrap().as_bytes()).unwrap();
        prop_assert_eq!((read.change(), read.at(), read.id()), (&change, Timestamp::from_millis(at), OperationId(id)));
        prop_assert_eq!((read.actor(), read.group(), read.epoch()), (actor.id(), state.id(), state.epoch() + 1));
    }

    #[test]
    fn a_living_group_has_an_admin_and_at_most_one_creator(
        steps in proptest::collection::vec((1..=6u16, any_change()), 1..30)
    ) {
        let mut state = group();
        for (actor, change) in steps {
            let Ok(next) = act(actor, &state, change) else { continue };
            prop_assert_eq!(next.epoch(), state.epoch() + 1);
            let roles: Vec<_> = next.members().values().collect();
            prop_assert!(roles.is_empty() || roles.iter().any(|role| **role >= Role::Admin));
            prop_assert!(roles.iter().filter(|role| ***role == Role::Creator).count() <= 1);
            state = next;
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = SignedOperation::verify(&bytes);
        let _ = verify_signed(bytes);
    }
}
