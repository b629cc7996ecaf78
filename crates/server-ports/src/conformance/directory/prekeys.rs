//! Bundles: what was uploaded, each one-time key to one requester.

use super::*;
use futures_util::future::join_all;
use std::collections::BTreeSet;

pub(super) async fn a_bundle_is_what_was_uploaded(dir: Dir<'_>) {
    created(dir, 1).await;
    let taken = take(dir, taking(1, 2)).await.expect("there are keys");
    let bundle = taken.bundle;
    assert_eq!((bundle.device, bundle.registration), (device(1).device, device(1).registration));
    assert_eq!(bundle.signed_prekey, signed_prekey(7));
    assert_eq!(bundle.kem_prekey, kem(bundle.kem_prekey.id));
    let one_time_key = bundle.one_time_prekey.expect("the pool is not empty");
    assert_eq!(one_time_key, one_time(one_time_key.id));
    assert_eq!(taken.left, KeyCounts { one_time: 2, one_time_kem: 2 });
    assert_eq!(counts(dir, device(1)).await, Some(taken.left));
}

pub(super) async fn a_one_time_key_is_given_once(dir: Dir<'_>) {
    created(dir, 1).await;
    let (mut given, mut given_kem) = (BTreeSet::new(), BTreeSet::new());
    for requester in 10..13 {
        let bundle = take(dir, taking(1, requester)).await.expect("there are keys").bundle;
        assert!(given.insert(bundle.one_time_prekey.expect("a key is left").id), "given twice");
        assert!(given_kem.insert(bundle.kem_prekey.id), "given twice");
        dir.reopen().await;
    }
    let last = take(dir, taking(1, 13)).await.expect("the last resort is left");
    assert_eq!(last.bundle.one_time_prekey, None);
    assert_eq!(last.bundle.kem_prekey, KemPrekey { last_resort: true, ..kem(8) });
    assert_eq!(last.left, KeyCounts::default());
}

pub(super) async fn parallel_takers_never_share_a_key(dir: Dir<'_>) {
    created(dir, 1).await;
    dir.port().put_keys(device(1), only_one_time(100..147)).await.expect("stored");
    let port = dir.port();
    let answers = join_all((0..64).map(|n| port.take_keys(taking(1, 100 + n)))).await;
    drop(port);
    let bundles: Vec<_> =
        answers.into_iter().map(|answer| answer.expect("answered").expect("there are keys").bundle).collect();
    let one_time: Vec<_> = bundles.iter().filter_map(|bundle| bundle.one_time_prekey.as_ref()).collect();
    let kem: Vec<_> =
        bundles.iter().map(|bundle| &bundle.kem_prekey).filter(|key| !key.last_resort).collect();
    assert_eq!((one_time.len(), kem.len()), (50, 50), "the whole pool was given");
    assert_eq!(one_time.iter().map(|key| key.id).collect::<BTreeSet<_>>().len(), 50, "each key once");
    assert_eq!(kem.iter().map(|key| key.id).collect::<BTreeSet<_>>().len(), 50, "each key once");
}

pub(super) async fn the_same_requester_gets_the_same_bundle_for_a_while(dir: Dir<'_>) {
    created(dir, 1).await;
    let first = take(dir, taking(1, 2)).await.expect("there are keys");
    dir.reopen().await;
    let other = take(dir, taking(1, 3)).await.expect("there are keys");
    assert_ne!(first.bundle, other.bundle, "another requester gets another");
    let upload = KeyUpload { signed_prekey: Some(signed_prekey(70)), ..KeyUpload::default() };
    dir.port().put_keys(device(1), upload).await.expect("stored");
    let just_within = NOW + limits::BUNDLE_REPEAT_WITHIN - Millis(1);
    let spared = TakeKeys { spare_one_time: true, ..taking(1, 2) };
    for again in [taking(1, 2), TakeKeys { now: just_within, ..taking(1, 2) }, spared] {
        let again = take(dir, again).await.expect("there are keys");
        assert_eq!(again.bundle, first.bundle);
        assert_eq!(again.left, other.left, "a repeat takes nothing from the pool");
    }
    let later = TakeKeys { now: just_within + Millis(1), ..taking(1, 2) };
    let later = take(dir, later).await.expect("there are keys");
    assert_eq!(later.bundle.signed_prekey, signed_prekey(70));
    assert_ne!(later.bundle.one_time_prekey, first.bundle.one_time_prekey);
    assert_eq!(later.left, KeyCounts { one_time: 0, one_time_kem: 0 });
}

pub(super) async fn reset_and_a_spared_pool_take_no_one_time_key(dir: Dir<'_>) {
    created(dir, 1).await;
    let first = take(dir, taking(1, 2)).await.expect("there are keys");
    let reset = TakeKeys { reset: true, ..taking(1, 2) };
    let spared = TakeKeys { spare_one_time: true, ..taking(1, 3) };
    for without in [reset, spared] {
        let taken = take(dir, without).await.expect("there are keys");
        assert_eq!(taken.bundle.one_time_prekey, None);
        assert!(taken.bundle.kem_prekey.last_resort);
        assert_eq!(taken.left, first.left);
    }
    assert_eq!(take(dir, taking(1, 2)).await, Some(first), "a reset does not change what is repeated");
}

pub(super) async fn uploads_replace_and_add(dir: Dir<'_>) {
    created(dir, 1).await;
    let impostor = OneTimePrekey { public_key: filled(0xff, 33), ..one_time(2) };
    let upload = KeyUpload {
        signed_prekey: Some(signed_prekey(70)),
        last_resort: Some(KemPrekey { last_resort: true, ..kem(80) }),
        one_time: vec![impostor, one_time(50)],
        one_time_kem: vec![],
    };
    let left = dir.port().put_keys(device(1), upload).await;
    assert_eq!(left, Ok(Some(KeyCounts { one_time: 4, one_time_kem: 3 })));
    dir.reopen().await;
    let mut one_time_keys = Vec::new();
    for requester in 10..14 {
        let bundle = take(dir, taking(1, requester)).await.expect("there are keys").bundle;
        assert_eq!(bundle.signed_prekey, signed_prekey(70), "the new one replaced the old");
        one_time_keys.extend(bundle.one_time_prekey);
        if requester == 13 {
            assert_eq!(bundle.kem_prekey, KemPrekey { last_resort: true, ..kem(80) });
        }
    }
    one_time_keys.sort_by_key(|key| key.id);
    assert_eq!(one_time_keys, [1, 2, 3, 50].map(one_time), "a stored id keeps its key");
    let nothing = dir.port().put_keys(device(1), KeyUpload::default()).await;
    assert_eq!(nothing, Ok(Some(KeyCounts::default())));
    let bundle = take(dir, taking(1, 20)).await.expect("what is absent replaces nothing").bundle;
    assert_eq!(bundle.signed_prekey, signed_prekey(70));
}

pub(super) async fn a_key_that_was_given_away_is_not_stored_again(dir: Dir<'_>) {
    created(dir, 1).await;
    for requester in 10..13 {
        take(dir, taking(1, requester)).await.expect("there are keys");
    }
    dir.reopen().await;
    let left = dir.port().put_keys(device(1), only_one_time(1..5)).await;
    assert_eq!(left, Ok(Some(KeyCounts { one_time: 1, one_time_kem: 1 })), "only the fourth is new");
    let bundle = take(dir, taking(1, 20)).await.expect("there are keys").bundle;
    assert_eq!(bundle.one_time_prekey, Some(one_time(4)));
    assert_eq!(bundle.kem_prekey, kem(4));
}

pub(super) async fn pools_are_bounded(dir: Dir<'_>) {
    created(dir, 1).await;
    let most = limits::ONE_TIME_KEYS_MAX as u32;
    let full = KeyCounts { one_time: most, one_time_kem: most };
    assert_eq!(dir.port().put_keys(device(1), only_one_time(100..400)).await, Ok(Some(full)));
    assert_eq!(dir.port().put_keys(device(1), only_one_time(400..500)).await, Ok(Some(full)));
    take(dir, taking(1, 2)).await.expect("there are keys");
    assert_eq!(dir.port().put_keys(device(1), only_one_time(500..600)).await, Ok(Some(full)), "room for one");
}

pub(super) async fn devices_without_keys_have_no_bundle(dir: Dir<'_>) {
    assert_eq!(take(dir, taking(1, 2)).await, None, "unknown");
    assert_eq!(counts(dir, device(1)).await, None);
    assert_eq!(dir.port().put_keys(device(1), keys(1..2)).await, Ok(None));
    prove(dir, 1, 1).await;
    let keyless = NewAccount { keys: KeyUpload::default(), ..new_account(1, 1, 1) };
    create(dir, keyless).await;
    assert_eq!(take(dir, taking(1, 2)).await, None, "without a signed prekey");
    assert_eq!(counts(dir, device(1)).await, Some(KeyCounts::default()));
    let upload = KeyUpload {
        signed_prekey: Some(signed_prekey(7)),
        one_time: vec![one_time(1)],
        ..KeyUpload::default()
    };
    dir.port().put_keys(device(1), upload).await.expect("stored");
    assert_eq!(take(dir, taking(1, 2)).await, None, "without any post-quantum prekey");
    let left = Some(KeyCounts { one_time: 1, one_time_kem: 0 });
    assert_eq!(counts(dir, device(1)).await, left, "a bundle that cannot be made takes nothing");
    let other_life = life(1, 1, 101);
    assert_eq!(counts(dir, other_life).await, None);
    assert_eq!(dir.port().put_keys(other_life, keys(1..2)).await, Ok(None));
}
